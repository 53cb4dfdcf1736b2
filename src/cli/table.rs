//! Columns that line up. Not a layout engine: no colours, no wrapping, the last column is as long as it is.

/// Rows of text under headings.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|heading| heading.to_uppercase()).collect()] }
    }

    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// The lines, each ended; nothing at all if there is no row under the headings.
    pub fn text(&self) -> String {
        if self.rows.len() < 2 {
            return String::new();
        }
        let columns = self.rows[0].len();
        let width = |at: usize| self.rows.iter().filter_map(|row| row.get(at)).map(|cell| length(cell)).max();
        let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or(0)).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.extend(std::iter::repeat_n(' ', width + GAP - length(cell)));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

fn length(cell: &str) -> usize {
    cell.chars().count()
}

/// Blanks between columns.
const GAP: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_by_characters_and_lines_have_no_tail() {
        let mut table = Table::new(&["id", "name"]);
        table.row(["a".into(), "Nördlingen".into()]);
        table.row(["größer".into(), String::new()]);
        assert_eq!(table.text(), "ID      NAME\na       Nördlingen\ngrößer\n");
        assert_eq!(Table::new(&["id"]).text(), "");
    }
}
