//! PID 1 of every job container.

fn main() {}
