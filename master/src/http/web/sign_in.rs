//! `/signin` and `/signout`: set and remove the cookie with the token.

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Redirect, Response},
};
use maud::{Markup, html};
use orchestra_contracts::{ProblemKind, Token, paths};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::layout::Page;
use crate::{
    http::{
        access::{Entry, Rule, cookie_of, is_our_page, no_cookie},
        error::ApiError,
        extract::{Form, FromQuery, NoQuery, Pairs, Query},
    },
    service::Service,
};

/// The address of the sign-in, which then leads on to `wanted`.
pub(in crate::http) fn address(wanted: &Uri) -> String {
    let wanted = wanted.path_and_query().map_or(paths::HOME, |it| it.as_str());
    format!("{}?next={}", paths::SIGN_IN, utf8_percent_encode(wanted, NON_ALPHANUMERIC))
}

/// Where the sign-in leads: always a path of this master, whatever the link said.
pub(super) struct Next(String);

impl FromQuery for Next {
    const NAMES: &'static [&'static str] = &["next"];

    fn from_pairs(pairs: &Pairs) -> Result<Self, ApiError> {
        Ok(Self(local(pairs.one("next")?.unwrap_or_default())))
    }
}

/// Browsers treat `//host` and `/\host` as another host, and drop tabs and line feeds.
pub(super) fn local(path: &str) -> String {
    let after = path.strip_prefix('/').unwrap_or("/");
    let is_local = !after.starts_with(['/', '\\']) && path.chars().all(|c| c.is_ascii_graphic());
    (if is_local { path } else { paths::HOME }).to_owned()
}

pub(super) struct Entering {
    token: Token,
    next: Next,
}

impl FromQuery for Entering {
    const NAMES: &'static [&'static str] = &["token", "next"];

    fn from_pairs(pairs: &Pairs) -> Result<Self, ApiError> {
        let token = Token::new(pairs.one("token")?.unwrap_or_default());
        Ok(Self { token, next: Next::from_pairs(pairs)? })
    }
}

/// The sign-in form. Where no token is required, it redirects on.
pub(super) async fn handler(
    axum::Extension(entry): axum::Extension<Entry>,
    Query(Next(next)): Query<Next>,
) -> Response {
    if entry.open {
        return Redirect::to(&next).into_response();
    }
    Page::for_strangers("Sign in").show(&form(&next, None))
}

/// Sets the cookie and redirects (303) to the wanted page.
pub(super) async fn enter(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    _: NoQuery,
    Form(Entering { token, next: Next(next) }): Form<Entering>,
) -> Result<Response, ApiError> {
    by_our_form(&headers)?;
    let wrong = match service.holder(&token) {
        None => "This token is not valid.",
        Some(caller) if !Rule::Client.admits(caller.role()) => {
            "This token is for workers. Pages are for clients and admins."
        }
        Some(_) => {
            let mut response = Redirect::to(&next).into_response();
            let cookie = cookie_of(&token, came_by_https(&headers));
            response.headers_mut().extend(cookie.map(|cookie| (header::SET_COOKIE, cookie)));
            return Ok(response);
        }
    };
    let mut response = Page::for_strangers("Sign in").show(&form(&next, Some(wrong)));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    // Logged like an invalid token in a header.
    response.extensions_mut().insert(ProblemKind::Unauthenticated);
    Ok(response)
}

/// Removes the cookie. The token itself stays valid.
pub(super) async fn leave(headers: HeaderMap, _: NoQuery) -> Result<Response, ApiError> {
    by_our_form(&headers)?;
    let mut response = Redirect::to(paths::SIGN_IN).into_response();
    response.headers_mut().insert(header::SET_COOKIE, no_cookie());
    Ok(response)
}

/// Refuses forms of other sites, and programs other than browsers.
pub(super) fn by_our_form(headers: &HeaderMap) -> Result<(), ApiError> {
    if is_our_page(headers) {
        return Ok(());
    }
    let detail = "only forms of this master's own pages are accepted here";
    Err(ApiError::new(ProblemKind::CrossSite, detail)
        .hint("programs send their token with each request"))
}

/// Uses the page's origin, so it also works behind a proxy that terminates TLS.
fn came_by_https(headers: &HeaderMap) -> bool {
    headers
        .get(header::ORIGIN)
        .map(HeaderValue::as_bytes)
        .is_some_and(|it| it.starts_with(b"https://"))
}

fn form(next: &str, wrong: Option<&str>) -> Markup {
    html! {
        section.card.narrow {
            h1 { "Sign in" }
            @if let Some(wrong) = wrong { p.wrong role="alert" { (wrong) } }
            form.stack method="post" action=(paths::SIGN_IN) {
                input type="hidden" name="next" value=(next);
                label for="token" { "Token" }
                input #token name="token" type="password" autocomplete="current-password"
                    placeholder="orchestra_…" spellcheck="false" required autofocus;
                p.hint { "A client token lets you view and change jobs. An admin token also covers queues and "
                    "workers. " code { "orchestra token create --role client" } " creates one." }
                button.primary { "Sign in" }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_this_master_are_gone_to() {
        for path in ["/", "/jobs?status=Failed&q=a%20b", "/jobs/5#log"] {
            assert_eq!(local(path), path);
        }
        for path in [
            "",
            "jobs",
            "//evil.example",
            "/\\evil.example",
            "https://evil.example",
            "/\t/evil.example",
            "/\n/evil.example",
            "javascript:alert(1)",
            "/ä",
        ] {
            assert_eq!(local(path), "/", "{path:?}");
        }
    }

    #[test]
    fn the_way_back_survives_the_sign_in() {
        let wanted: Uri = "/jobs?q=a%26b&status=Failed".parse().unwrap();
        let query = address(&wanted);
        let next = query.strip_prefix("/signin?next=").unwrap();
        let next = percent_encoding::percent_decode_str(next).decode_utf8().unwrap();
        assert_eq!(next, "/jobs?q=a%26b&status=Failed");
    }
}
