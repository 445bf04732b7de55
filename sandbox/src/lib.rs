//! The part that the sandbox program and the worker share: their protocol, and how a machine finds
//! its own addresses. It uses only std, because the program itself (`main.rs`) is PID 1 of every
//! job container and stays small.

pub mod machine;
pub mod protocol;
