//! The answer for people: on the terminal, and as Markdown.

use std::io::{self, Write};

use super::Answer;
use super::data::Merged;
use super::row::{LabelRow, Row};

/// Labels up to this number are all shown on the terminal; of more, the best and the worst.
const LABELS_SHOWN_MAX: usize = 24;
/// Best and worst labels that are shown.
const EXTREMES: usize = 5;
/// Mistakes that are shown.
const MISTAKES_SHOWN_MAX: usize = 5;
/// Mistakes in the report.
const MISTAKES_WRITTEN_MAX: usize = 30;
/// With no more labels than this, the best five say nothing.
const FIVE: usize = 5;

/// A table: titles and lines of as many cells.
struct Table {
    titles: Vec<&'static str>,
    lines: Vec<Vec<String>>,
}

/// Prints what was measured; details where there is one row only.
pub(super) fn print(answer: &Answer<'_>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}\n\n{}", opening(answer), rows(answer).text())?;
    if let [row] = answer.rows {
        let chosen = chosen(row);
        if chosen.len() < row.per_label.len() {
            writeln!(out, "best and worst labels")?;
        }
        writeln!(out, "{}", labels(chosen).text())?;
        if !row.mistakes.is_empty() {
            writeln!(out, "{}", mistakes(row, MISTAKES_SHOWN_MAX).text())?;
        }
    }
    out.flush()
}

/// All of it as Markdown.
pub(super) fn markdown(answer: &Answer<'_>) -> String {
    let mut text = format!("# Evaluation\n\n{}\n\n{}", opening(answer), rows(answer).markdown());
    text.push_str("\nECE: expected calibration error, 15 bins. enter: the threshold with the best F1 of the label against all others, on the scores that `edgeclip run` gives. Of equally good labels the first counts as the best.\n");
    for (number, row) in (1..).zip(answer.rows) {
        text.push_str(&format!("\n## {number}. {}, {}, {}\n\n", row.name, row.labels, row.head));
        if let [template] = row.templates.as_slice() {
            text.push_str(&format!("Template: \"{template}\"\n\n"));
        }
        text.push_str(&labels(row.per_label.iter().collect()).markdown());
        if !row.mistakes.is_empty() {
            text.push('\n');
            text.push_str(&mistakes(row, MISTAKES_WRITTEN_MAX).markdown());
        }
    }
    text
}

/// What was looked at, in a sentence, and what is to be known of it.
fn opening(answer: &Answer<'_>) -> String {
    let (pictures, failed) = (answer.pictures, answer.failed.len());
    let mut failed =
        if failed > 0 { format!("; {failed} could not be used") } else { String::new() };
    if !answer.failed_train.is_empty() {
        failed.push_str(&format!("; {} of --train could not be used", answer.failed_train.len()));
    }
    let data = answer.data.join(", ");
    let mut text = format!("{data}: {pictures} pictures of {} classes{failed}", answer.classes);
    for Merged { class, names } in answer.merged {
        text.push_str(&format!("\n\nOne class, \"{class}\": {}", names.join(", ")));
    }
    if let Some(error) = &answer.error {
        text.push_str(&format!("\n\nNot all was measured: {error}"));
    }
    text
}

/// One line for each row; columns that say the same of all are left out.
fn rows(answer: &Answer<'_>) -> Table {
    let rows = answer.rows;
    let template = |row: &Row| match row.templates.as_slice() {
        [] => "none".to_owned(),
        [template] => template.clone(),
        templates => format!("all {} averaged", templates.len()),
    };
    let mut columns: Vec<(&str, Vec<String>)> = vec![
        ("model", rows.iter().map(|row| row.name.clone()).collect()),
        ("labels", rows.iter().map(|row| row.labels.clone()).collect()),
    ];
    let wordy = [
        ("template", rows.iter().map(template).collect::<Vec<_>>()),
        ("head", rows.iter().map(|row| row.head.to_owned()).collect()),
        ("left out", rows.iter().map(|row| row.left_out.to_string()).collect()),
    ];
    let says_more = |cells: &[String]| cells.iter().any(|cell| *cell != cells[0]);
    columns.extend(wordy.into_iter().filter(|(_, cells)| says_more(cells)));
    let number = |of: fn(&Row) -> String| rows.iter().map(of).collect::<Vec<_>>();
    columns.push(("top-1", number(|row| percent(row.top1))));
    if rows.iter().any(|row| row.per_label.len() > FIVE) {
        columns.push((
            "top-5",
            number(|row| percent(row.top5.filter(|_| row.per_label.len() > FIVE))),
        ));
    }
    columns.push(("mean per class", number(|row| percent(row.mean_per_class))));
    columns.push(("ECE", number(|row| percent(row.ece))));
    columns.push(("decode ms", number(|row| format!("{:.2}", row.ms.decode))));
    columns.push(("preprocess ms", number(|row| format!("{:.2}", row.ms.preprocess))));
    columns.push(("encode ms", number(|row| format!("{:.2}", row.ms.encode))));
    let lines =
        (0..rows.len()).map(|at| columns.iter().map(|column| column.1[at].clone()).collect());
    Table { lines: lines.collect(), titles: columns.iter().map(|column| column.0).collect() }
}

/// The labels that have room on a terminal: all, or those found best and worst.
fn chosen(row: &Row) -> Vec<&LabelRow> {
    let mut labels: Vec<&LabelRow> =
        row.per_label.iter().filter(|label| label.pictures > 0).collect();
    if labels.len() <= LABELS_SHOWN_MAX {
        return labels;
    }
    labels.sort_by(|a, b| b.recall.partial_cmp(&a.recall).unwrap_or(std::cmp::Ordering::Equal));
    let worst = labels.split_off(labels.len() - EXTREMES);
    labels.truncate(EXTREMES);
    labels.extend(worst);
    labels
}

fn labels(labels: Vec<&LabelRow>) -> Table {
    let line = |label: &LabelRow| {
        vec![
            label.label.clone(),
            label.pictures.to_string(),
            percent(label.recall),
            percent(label.precision),
            percent(label.f1),
            // As a labels file reads it; small ones with an exponent.
            label.enter.map_or_else(dash, |enter| format!("{enter:?}")),
        ]
    };
    Table {
        titles: vec!["label", "pictures", "recall", "precision", "best F1", "enter"],
        lines: labels.into_iter().map(line).collect(),
    }
}

fn mistakes(row: &Row, most: usize) -> Table {
    let name = |index: usize| row.per_label[index].label.clone();
    let line = |(truth, given, share): &(usize, usize, f64)| {
        vec![name(*truth), name(*given), percent(Some(*share))]
    };
    Table {
        titles: vec!["is", "taken for", "of its pictures"],
        lines: row.mistakes.iter().take(most).map(line).collect(),
    }
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(dash, |share| format!("{:.1} %", share * 100.0))
}

fn dash() -> String {
    "-".to_owned()
}

impl Table {
    /// Columns side by side: words to the left, numbers to the right.
    fn text(&self) -> String {
        let widths: Vec<usize> = (0..self.titles.len()).map(|column| self.width(column)).collect();
        let line = |cells: Vec<&str>| {
            let cells = cells.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
                let space = " ".repeat(width - cell.chars().count());
                if self.is_number(column) { space + cell } else { (*cell).to_owned() + &space }
            });
            cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
        };
        let lines = self.lines.iter().map(|cells| line(cells.iter().map(String::as_str).collect()));
        line(self.titles.clone()) + &lines.collect::<String>()
    }

    fn markdown(&self) -> String {
        let rule = |column: usize| if self.is_number(column) { " ---: |" } else { " --- |" };
        let rule: String = (0..self.titles.len()).map(rule).collect();
        let line = |cells: &[String]| {
            let cells: String =
                cells.iter().map(|cell| format!(" {} |", cell.replace('|', "\\|"))).collect();
            format!("|{cells}\n")
        };
        let titles: Vec<String> = self.titles.iter().map(ToString::to_string).collect();
        let lines: String = self.lines.iter().map(|cells| line(cells)).collect();
        line(&titles) + &format!("|{rule}\n") + &lines
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.lines.iter().map(|cells| cells[column].chars().count());
        cells.chain([self.titles[column].len()]).max().unwrap_or(0)
    }

    /// Whether a column holds numbers only.
    fn is_number(&self, column: usize) -> bool {
        let is_word =
            |cell: &str| cell.trim_end_matches(" %").parse::<f64>().is_err() && cell != "-";
        !self.lines.iter().any(|cells| is_word(&cells[column]))
    }
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn words_stand_left_and_numbers_right() {
        let lines = [["a b", "5.0 %", "-"], ["\u{e9}|", "12.0 %", "0.5"]];
        let lines = lines.map(|line| line.map(String::from).to_vec()).to_vec();
        let table = Table { titles: vec!["x", "share", "n"], lines };
        assert_eq!(table.text(), "x     share    n\na b   5.0 %    -\n\u{e9}|   12.0 %  0.5\n");
        assert!(
            table
                .markdown()
                .starts_with("| x | share | n |\n| --- | ---: | ---: |\n| a b | 5.0 % | - |\n")
        );
        assert!(table.markdown().ends_with("| \u{e9}\\| | 12.0 % | 0.5 |\n"));
    }
}
