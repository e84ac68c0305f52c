//! Reading any file of the cache ends in a result or an error, without a panic and with memory in proportion to the file.

mod cache;
mod changes;
