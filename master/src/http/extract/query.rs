//! Query parameters. Unknown names are refused, so that a misspelt filter does not silently list
//! everything.

use std::str::FromStr;

use axum::{extract::FromRequestParts, http::request::Parts};
use percent_encoding::percent_decode_str;

use crate::http::error::ApiError;

/// The parsed query of one kind of request.
pub(in crate::http) struct Query<T>(pub(in crate::http) T);

/// For addresses without query parameters.
pub(in crate::http) type NoQuery = Query<()>;

pub(in crate::http) trait FromQuery: Sized {
    /// All accepted names.
    const NAMES: &'static [&'static str];

    fn from_pairs(pairs: &Pairs) -> Result<Self, ApiError>;
}

/// The decoded query. All names are known.
pub(in crate::http) struct Pairs(Vec<(String, String)>);

impl FromQuery for () {
    const NAMES: &'static [&'static str] = &[];

    fn from_pairs(_: &Pairs) -> Result<Self, ApiError> {
        Ok(())
    }
}

impl<S: Send + Sync, T: FromQuery> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let pairs = Pairs::read(parts.uri.query().unwrap_or_default(), T::NAMES)?;
        T::from_pairs(&pairs).map(Self)
    }
}

impl Pairs {
    pub(in crate::http) fn read(query: &str, names: &[&str]) -> Result<Self, ApiError> {
        let mut pairs = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if !names.contains(&name.as_str()) {
                return Err(unknown(&name, names));
            }
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// Without empty values, which are the fields of a form that were left blank.
    pub(in crate::http) fn filled(&self) -> Self {
        Self(self.0.iter().filter(|(_, value)| !value.is_empty()).cloned().collect())
    }

    /// All values of a repeatable name.
    pub(in crate::http) fn all(&self, wanted: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(name, _)| name == wanted).map(|(_, value)| value.as_str())
    }

    /// Like [`all`](Self::all), with values also split at commas.
    pub(in crate::http) fn words(&self, wanted: &str) -> impl Iterator<Item = &str> {
        self.all(wanted).flat_map(|value| value.split(',')).filter(|word| !word.is_empty())
    }

    /// The value of a name that may occur once.
    pub(in crate::http) fn one(&self, wanted: &str) -> Result<Option<&str>, ApiError> {
        let mut values = self.all(wanted);
        let first = values.next();
        match values.next() {
            Some(_) => Err(ApiError::parameter(format!("{wanted:?} is given more than once"))),
            None => Ok(first),
        }
    }

    /// Like [`one`](Self::one), parsed. `is` says in the error message what the value must be.
    pub(in crate::http) fn parsed<T: FromStr>(
        &self,
        wanted: &str,
        is: &str,
    ) -> Result<Option<T>, ApiError> {
        let parse = |text: &str| {
            let refuse = |_| ApiError::parameter(format!("{wanted}={text:?} is not {is}"));
            text.parse().map_err(refuse)
        };
        self.one(wanted)?.map(parse).transpose()
    }

    /// `true` or `false`; a bare name means true.
    pub(in crate::http) fn flag(&self, wanted: &str) -> Result<bool, ApiError> {
        match self.one(wanted)? {
            None | Some("false") => Ok(false),
            Some("" | "true") => Ok(true),
            Some(other) => {
                Err(ApiError::parameter(format!("{wanted}={other:?} is neither true nor false")))
            }
        }
    }
}

/// Decodes application/x-www-form-urlencoded (WHATWG URL): `+` is a space.
fn decode(text: &str) -> Result<String, ApiError> {
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| ApiError::parameter("the query is not UTF-8 where it is percent-encoded"))
}

fn unknown(name: &str, names: &[&str]) -> ApiError {
    let error = ApiError::parameter(format!("this address knows no parameter {name:?}"));
    match names {
        [] => error.hint("it takes none"),
        names => error.hint(format!("it knows {}", names.join(", "))),
    }
}
