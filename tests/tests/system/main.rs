//! Orchestra as its users see it: real processes, a real engine, the REST API and
//! the command line. One module a question.

mod badinput;
mod cli;
mod compose;
mod crashes;
mod curl;
mod ends;
mod failures;
mod floods;
mod images;
mod logs;
mod many;
mod nemesis;
mod network;
mod sandbox;
mod seed;
mod storage;
mod stubborn;
mod tokens;
mod workers;
