//! Orchestra as its users see it: real processes, a real engine, the REST API and
//! the command line. One module a question.

mod after;
mod badinput;
mod bombs;
mod bridge;
mod cli;
mod compose;
mod crashes;
mod curl;
mod daemon;
mod ends;
mod failures;
mod files;
mod floods;
mod folders;
mod images;
mod logs;
mod many;
mod masters;
mod nemesis;
mod network;
mod offers;
mod openapi;
mod python;
mod queues;
mod readme;
mod repro;
mod sandbox;
mod schedules;
mod secrets;
mod seed;
mod steps;
mod storage;
mod stubborn;
mod tokens;
mod workers;
