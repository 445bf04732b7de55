//! The web pages. Their handlers parse the request, call the same use cases as the JSON handlers,
//! and render HTML. Changes go through the API, which the scripts in `assets` call.
//!
//! * `layout` is the frame of every page, with its content security policy.
//! * `text` escapes untrusted text. Templates show such text in no other way.
//! * `assets` holds the scripts and styles of the pages, compiled into the program.

mod api;
mod assets;
mod home;
mod images;
mod job;
mod jobs;
mod layout;
mod new;
mod plots;
mod queues;
mod refused;
mod schedules;
mod sign_in;
mod table;
mod text;
mod visitor;
mod webhooks;
mod workers;

use orchestra_contracts::paths;

use super::access::{Routes, Rule};

pub(super) use refused::Asked;
pub(super) use sign_in::address as sign_in_for;

pub(super) fn routes() -> Routes {
    Routes::default()
        .page(paths::HOME, Rule::Client, home::handler)
        .page(paths::JOBS_PAGE, Rule::Client, jobs::handler)
        .form(paths::JOBS_PAGE, Rule::Client, jobs::bulk)
        .page(paths::JOB_PAGE, Rule::Client, job::handler)
        .page(paths::NEW_PAGE, Rule::Client, new::handler)
        .page(paths::QUEUES_PAGE, Rule::Client, queues::handler)
        .page(paths::WORKERS_PAGE, Rule::Client, workers::handler)
        .page(paths::SCHEDULES_PAGE, Rule::Client, schedules::handler)
        .page(paths::IMAGES_PAGE, Rule::Client, images::handler)
        .page(paths::WEBHOOKS_PAGE, Rule::Admin, webhooks::handler)
        .page(paths::WEBHOOK_PAGE, Rule::Admin, webhooks::one)
        .page(paths::API_PAGE, Rule::Anyone, api::handler)
        .page(paths::SIGN_IN, Rule::Anyone, sign_in::handler)
        .form(paths::SIGN_IN, Rule::Anyone, sign_in::enter)
        .form(paths::SIGN_OUT, Rule::Anyone, sign_in::leave)
        .page(paths::ASSET, Rule::Anyone, assets::handler)
}
