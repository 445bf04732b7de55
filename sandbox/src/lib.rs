//! What the sandbox program and its worker have in common: what they say to each other, and how
//! a machine knows its addresses. Std only: the program itself (`main.rs`) is PID 1 of every job
//! container and stays small.

pub mod machine;
pub mod protocol;
