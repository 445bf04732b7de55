//! Rows in the text format of `COPY`, as PostgreSQL itself writes them:
//! <https://www.postgresql.org/docs/current/sql-copy.html>, "Text Format".

use std::io::Write as _;

use sqlx::{Row as _, sqlite::SqliteRow};

use super::tables::{Column, Holds};

pub(super) fn write_row(
    to: &mut Vec<u8>,
    row: &SqliteRow,
    columns: &[Column],
) -> Result<(), sqlx::Error> {
    for (place, column) in columns.iter().enumerate() {
        if place > 0 {
            to.push(b'\t');
        }
        match column.holds {
            Holds::Number => write_number(to, row.try_get(place)?),
            Holds::Truth => write_truth(to, row.try_get(place)?),
            Holds::Text => write_text(to, row.try_get(place)?),
            Holds::Bytes => write_bytes(to, row.try_get(place)?),
        }
    }
    to.push(b'\n');
    Ok(())
}

const NULL: &[u8] = br"\N";

fn write_number(to: &mut Vec<u8>, value: Option<i64>) {
    match value {
        // A vector takes whatever is written to it.
        Some(value) => drop(write!(to, "{value}")),
        None => to.extend_from_slice(NULL),
    }
}

fn write_truth(to: &mut Vec<u8>, value: Option<i64>) {
    to.extend_from_slice(match value {
        Some(0) => b"f",
        Some(_) => b"t",
        None => NULL,
    });
}

fn write_text(to: &mut Vec<u8>, value: Option<&str>) {
    let Some(value) = value else { return to.extend_from_slice(NULL) };
    for byte in value.bytes() {
        let letter = match byte {
            b'\\' => b'\\',
            0x08 => b'b',
            0x0c => b'f',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0x0b => b'v',
            other => {
                to.push(other);
                continue;
            }
        };
        to.extend_from_slice(&[b'\\', letter]);
    }
}

/// Hexadecimal, behind a backslash that is one of the text format's.
fn write_bytes(to: &mut Vec<u8>, value: Option<&[u8]>) {
    let Some(value) = value else { return to.extend_from_slice(NULL) };
    to.extend_from_slice(br"\\x");
    let start = to.len();
    to.resize(start + 2 * value.len(), 0);
    // The room is twice as long as what is written there.
    let _ = hex::encode_to_slice(value, &mut to[start..]);
}
