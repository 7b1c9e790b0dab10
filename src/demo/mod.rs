//! The same daemon in a toy cluster, in real time.
