//! Small tables in aligned columns.

use unicode_width::UnicodeWidthStr;

/// Rows of cells under optional headers, two spaces apart.
#[derive(Debug, Clone, Default)]
pub struct Table {
    headers: Vec<String>,
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
    indent: usize,
}

impl Table {
    /// A header that starts with `>` aligns its column to the right, for numbers.
    pub fn new<'a>(headers: impl IntoIterator<Item = &'a str>) -> Self {
        let headers: Vec<&str> = headers.into_iter().collect();
        Self {
            right: headers.iter().map(|h| h.starts_with('>')).collect(),
            headers: headers.iter().map(|h| h.trim_start_matches('>').to_string()).collect(),
            ..Self::default()
        }
    }

    /// Spaces before every row.
    pub fn indent(mut self, spaces: usize) -> Self {
        self.indent = spaces;
        self
    }

    pub fn row<C: Into<String>>(&mut self, cells: impl IntoIterator<Item = C>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as lines, each with a newline; without a header line if all headers are empty.
    pub fn render(&self) -> String {
        let header = self.headers.iter().any(|h| !h.is_empty()).then_some(&self.headers);
        let lines: Vec<&Vec<String>> = header.into_iter().chain(&self.rows).collect();
        let columns = lines.iter().map(|l| l.len()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns)
            .map(|c| lines.iter().filter_map(|l| l.get(c)).map(|cell| cell.width()).max().unwrap_or(0))
            .collect();
        let mut out = String::new();
        for cells in lines {
            let mut line = " ".repeat(self.indent);
            for (c, cell) in cells.iter().enumerate() {
                let gap = " ".repeat(widths[c] - cell.width());
                if c > 0 {
                    line.push_str("  ");
                }
                match self.right.get(c) {
                    Some(true) => line.extend([gap.as_str(), cell]),
                    _ => line.extend([cell, gap.as_str()]),
                }
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_end_where_their_text_ends() {
        let mut table = Table::new(["stage", ">time", "why"]);
        table.row(["corpus", "4.2s", ""]);
        table.row(["naïve", "1m 50s", "new"]);
        table.row(["語彙", "38ms", "x"]);
        assert_eq!(
            table.render(),
            "\
stage     time  why
corpus    4.2s
naïve   1m 50s  new
語彙      38ms  x
"
        );
    }

    #[test]
    fn no_headers_no_header_line() {
        let mut table = Table::new(["", ">"]).indent(2);
        table.row(["a", "1"]);
        table.row(["bcd", "20"]);
        assert_eq!(table.render(), "  a     1\n  bcd  20\n");
    }
}
