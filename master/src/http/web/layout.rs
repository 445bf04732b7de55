//! The frame of every page, and its security headers: browsers run only our own scripts and styles,
//! from files, whatever untrusted text ends up in a page.

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use maud::{DOCTYPE, Markup, html};
use orchestra_contracts::paths;

use super::{assets, text, visitor::Visitor};

const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);
/// Forms send their origin to this master and to nobody else.
const REFERRER: HeaderValue = HeaderValue::from_static("same-origin");
const KIND: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// The pages in the navigation bar.
const PLACES: [(&str, &str); 7] = [
    (paths::HOME, "Overview"),
    (paths::JOBS_PAGE, "Jobs"),
    (paths::QUEUES_PAGE, "Queues"),
    (paths::WORKERS_PAGE, "Workers"),
    (paths::SCHEDULES_PAGE, "Schedules"),
    (paths::IMAGES_PAGE, "Images"),
    (paths::API_PAGE, "API"),
];
/// Another one, for admins only.
const OF_ADMINS: (&str, &str) = (paths::WEBHOOKS_PAGE, "Webhooks");

/// One page: its visitor, title, place in the navigation, and script.
pub(super) struct Page<'a> {
    visitor: Option<Visitor>,
    title: &'a str,
    place: &'static str,
    script: Option<&'static str>,
}

impl<'a> Page<'a> {
    pub(super) fn new(visitor: Visitor, place: &'static str, title: &'a str) -> Self {
        Self { visitor: Some(visitor), title, place, script: None }
    }

    /// A page that is the same for everybody.
    pub(super) fn for_all(place: &'static str, title: &'a str) -> Self {
        Self { visitor: None, title, place, script: None }
    }

    /// A page for anybody, signed in or not, without a navigation bar.
    pub(super) fn for_strangers(title: &'a str) -> Self {
        Self { visitor: None, title, place: "", script: None }
    }

    /// Adds a script besides the one of all pages.
    pub(super) fn with_script(self, name: &'static str) -> Self {
        Self { script: Some(name), ..self }
    }

    pub(super) fn show(&self, body: &Markup) -> Response {
        let headers = [
            (header::CONTENT_TYPE, KIND),
            (header::CONTENT_SECURITY_POLICY, POLICY),
            (header::REFERRER_POLICY, REFERRER),
        ];
        (headers, self.document(body).into_string()).into_response()
    }

    fn document(&self, body: &Markup) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (text::plain(self.title)) " · Orchestra" }
                    link rel="icon" type="image/svg+xml" href=(assets::address("icon.svg"));
                    link rel="stylesheet" href=(assets::address("style.css"));
                    @if self.script == Some("log.js") {
                        link rel="stylesheet" href=(assets::address("log.css"));
                    }
                    script type="module" src=(assets::address("page.js")) {}
                    @if let Some(name) = self.script {
                        script type="module" src=(assets::address(name)) {}
                    }
                }
                body {
                    a.skip href="#main" { "Skip to content" }
                    (self.bar())
                    main #main tabindex="-1" { (body) }
                    noscript {
                        p.notice { "Without JavaScript, this page does not update. "
                            "To make changes, use the command line or the API." }
                    }
                    p #said role="status" aria-live="polite" hidden {}
                }
            }
        }
    }

    fn bar(&self) -> Markup {
        html! {
            header.bar {
                a.brand href=(paths::HOME) {
                    img src=(assets::address("icon.svg")) alt="" width="22" height="22";
                    "Orchestra"
                }
                @if !self.place.is_empty() {
                    nav aria-label="Pages" {
                        @let is_admin = self.visitor.is_some_and(Visitor::is_admin);
                        @for (path, name) in PLACES.into_iter().chain(is_admin.then_some(OF_ADMINS)) {
                            a href=(path) aria-current=[(path == self.place).then_some("page")] { (name) }
                        }
                    }
                }
                @if let Some(visitor) = self.visitor {
                    div.ends {
                        a.button.primary href=(paths::NEW_PAGE) { "New job" }
                        @if visitor.has_token {
                            form method="post" action=(paths::SIGN_OUT) {
                                button.quiet title={ "Signed in as " (visitor.role()) } { "Sign out" }
                            }
                        }
                    }
                }
            }
        }
    }
}
