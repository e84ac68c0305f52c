//! Draws pictures as SVG in one style: what `compare`, `search` and other kinds show.

pub(crate) mod area;
pub(crate) mod axis;
pub(crate) mod bars;
pub(crate) mod calendar;
pub(crate) mod cloud;
pub(crate) mod columns;
pub(crate) mod diagram;
pub(crate) mod intervals;
pub(crate) mod label;
pub(crate) mod layers;
pub(crate) mod legend;
pub(crate) mod lines;
pub(crate) mod listing;
pub(crate) mod matrix;
pub(crate) mod number;
pub(crate) mod style;
pub(crate) mod svg;
