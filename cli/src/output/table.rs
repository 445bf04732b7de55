//! Plain tables: columns that line up, no frame, nothing to strip in a pipe.

use comfy_table::{Table as Comfy, presets::NOTHING};

use super::escape;

/// Commands and reasons are cut to this, so that a line fits most terminals.
const LONGEST: usize = 60;

pub(crate) struct Table(Comfy);

impl Table {
    pub(crate) fn new<const N: usize>(header: [&str; N]) -> Self {
        let mut table = Comfy::new();
        table.load_style(NOTHING).set_header(header);
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        Self(table)
    }

    /// Cells are escaped here and nowhere else.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.0.add_row(cells.map(|cell| escape::short(&cell, LONGEST)));
    }

    pub(crate) fn text(&self) -> String {
        format!("{}\n", self.0.trim_fmt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_whatever_is_in_them() {
        let mut table = Table::new(["ID", "COMMAND"]);
        table.row(["1".into(), "echo \x1b[31m\nred".into()]);
        table.row(["1000".into(), String::new()]);
        assert_eq!(table.text(), "ID    COMMAND\n1     echo \\u{1b}[31m\\nred\n1000\n");
    }
}
