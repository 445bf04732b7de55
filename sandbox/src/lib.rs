//! What the sandbox program and its worker say to each other. Std only: the
//! program itself (`main.rs`) is PID 1 of every job container and stays small.

pub mod protocol;
