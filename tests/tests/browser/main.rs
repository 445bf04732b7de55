//! The pages, as a person with a browser uses them: a real Chromium, a real master, and
//! where jobs run, a real worker. One module a question.

mod accessible;
mod choosing;
mod chromium;
mod looks;
mod overview;
mod reading;
mod running;
mod signing;
