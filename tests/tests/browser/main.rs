//! The web pages, used as by a person with a browser: a real Chromium, a real master, and where jobs
//! run, a real worker. Each module tests one topic.

mod accessible;
mod choosing;
mod chromium;
mod looks;
mod overview;
mod reading;
mod running;
mod signing;
