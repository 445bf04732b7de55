//! Jobs in real containers. Each test has a worker name of its own and checks by
//! label that nothing of it is left.

mod confinement;
mod daemon;
mod endings;
mod hands;
mod lab;
mod leftovers;
mod output;
mod proxy;
mod remains;
mod restarts;
mod trouble;
