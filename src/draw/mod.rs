//! Draws pictures as SVG in one style: what `compare`, `search` and other kinds show.

pub(crate) mod area;
pub(crate) mod axis;
pub(crate) mod bars;
pub(crate) mod calendar;
pub(crate) mod cloud;
pub(crate) mod columns;
pub(crate) mod label;
pub(crate) mod number;
pub(crate) mod style;
pub(crate) mod svg;
