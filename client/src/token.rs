//! The client's access token.

use std::{fs, path::Path};

use orchestra_contracts::Token;
use reqwest::header::HeaderValue;

use crate::ClientError;

/// The given token, or else the one in the file, if there is any. An empty one counts as absent.
///
/// # Errors
/// [`ClientError::Token`] when the file cannot be read.
pub fn token_from(
    given: Option<&Token>,
    file: Option<&Path>,
) -> Result<Option<Token>, ClientError> {
    if let Some(token) = given.filter(|token| !token.as_str().is_empty()) {
        return Ok(Some(token.clone()));
    }
    let Some(path) = file.filter(|path| !path.as_os_str().is_empty()) else { return Ok(None) };
    let text = fs::read_to_string(path).map_err(|error| {
        ClientError::Token(format!("the file {} cannot be read ({error})", path.display()))
    })?;
    Ok(Some(Token::new(&text)))
}

/// The value of the header, marked as sensitive.
pub(crate) fn header_of(token: &Token) -> Result<HeaderValue, ClientError> {
    // A truncated or foreign token would only cause a 401; this error explains why.
    if !token.is_well_formed() {
        let sentence = format!("a token is {} and {} digits", Token::PREFIX, Token::DIGITS);
        return Err(ClientError::Token(sentence));
    }
    let value = HeaderValue::try_from(format!("Bearer {}", token.as_str()));
    let mut value = value.map_err(|_| ClientError::Token("it is no text".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(given: Option<&str>, file: Option<&Path>) -> Option<String> {
        let given = given.map(Token::new);
        let token = token_from(given.as_ref(), file).unwrap();
        token.map(|token| token.as_str().to_owned())
    }

    #[test]
    fn what_was_given_counts_before_the_file() {
        let folder = std::env::temp_dir().join(format!("orchestra-client-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("token");
        fs::write(&file, "filed\n").unwrap();
        assert_eq!(read(Some("given"), Some(&file)).as_deref(), Some("given"));
        assert_eq!(read(Some(""), Some(&file)).as_deref(), Some("filed"));
        assert_eq!(read(None, None), None);
        fs::remove_dir_all(&folder).unwrap();
        let error = token_from(None, Some(&file)).unwrap_err();
        assert!(error.to_string().contains("cannot be read"), "{error}");
    }

    #[test]
    fn a_header_does_not_print_and_a_cut_token_makes_none() {
        let text = format!("{}{}", Token::PREFIX, "0f".repeat(32));
        let header = header_of(&Token::new(&text)).unwrap();
        assert!(header.as_bytes().ends_with(text.as_bytes()));
        assert!(!format!("{header:?}").contains("0f0f"));
        let error = header_of(&Token::new(&text[..40])).unwrap_err();
        assert!(!error.to_string().contains("0f0f"), "{error}");
    }
}
