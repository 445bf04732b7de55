//! Jobs in real containers. Each test has its own worker name and checks by label that it leaves
//! nothing behind.

mod artifacts;
mod confinement;
mod endings;
mod files;
mod folders;
mod hands;
mod lab;
mod leftovers;
mod output;
mod panics;
mod pool;
mod proxy;
mod pulled;
mod remains;
mod restarts;
mod secrets;
mod stats;
mod taken;
mod trouble;
mod walls;
