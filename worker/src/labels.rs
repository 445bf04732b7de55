//! The labels of a worker, which jobs may require: the operator's, and one for the machine.

use std::{collections::BTreeMap, env::consts::ARCH};

use orchestra_contracts::check_labels;

/// Parses a label from the command line: `KEY=VALUE`.
pub(crate) fn read(text: &str) -> Result<(String, String), String> {
    let Some((key, value)) = text.split_once('=') else {
        return Err("write each label as KEY=VALUE".to_owned());
    };
    let label = (key.to_owned(), value.to_owned());
    match check_labels(&BTreeMap::from([label.clone()]), "").first() {
        Some(error) => Err(format!("it {}", error.detail)),
        None => Ok(label),
    }
}

/// All labels of the worker. The operator's values win, even over the machine's.
pub(crate) fn all(said: &[(String, String)]) -> BTreeMap<String, String> {
    let machine = ("arch".to_owned(), ARCH.to_owned());
    [machine].into_iter().chain(said.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_a_key_and_a_value() {
        assert_eq!(read("gpu=yes"), Ok(("gpu".to_owned(), "yes".to_owned())));
        assert_eq!(read("spot="), Ok(("spot".to_owned(), String::new())));
        for wrong in ["", "gpu", "=yes", "a b=c", "a=b=c", "a=b c"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_machine_has_one_and_the_operator_may_say_otherwise() {
        assert_eq!(all(&[])["arch"], ARCH);
        let said = [("arch".to_owned(), "other".to_owned()), ("a".to_owned(), "b".to_owned())];
        assert_eq!(all(&said), BTreeMap::from(said));
    }
}
