//! The machine learning: models, training, compression and data; knows no stages, no cache, no TOML.
