//! The owner's library: keys, pipeline, catalogue and tasks
