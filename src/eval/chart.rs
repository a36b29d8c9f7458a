//! The same as pictures: SVG, dark on white, that scale to any size.

use std::fmt::Write;

use super::{BINS, Calibration, Confusion};

/// Sides of a cell of the confusion matrix, in pixels: what many labels get, and what few get.
const CELL_MIN: f64 = 9.0;
const CELL_MAX: f64 = 40.0;
/// Width that the cells share, where there are neither many nor few.
const CELLS_WIDTH: f64 = 900.0;
/// Cells from this side on have their percentage written in them.
const CELL_WITH_NUMBER: f64 = 28.0;
/// Cells from this side on have room for slanted labels above them.
const CELL_WITH_SLANT: f64 = 16.0;
/// Longest label that is shown whole, in characters.
const LABEL_CHARS_MAX: usize = 32;
/// Width of a character, in parts of the font's size.
const CHARACTER: f64 = 0.56;
/// What is right, and what is wrong, at their strongest.
const RIGHT: [f64; 3] = [27.0, 94.0, 168.0];
const WRONG: [f64; 3] = [190.0, 58.0, 20.0];
/// Side of the reliability diagram's field, in pixels.
const FIELD: f64 = 300.0;

/// The confusion matrix: a row for each true label, with the shares of what its pictures got; blue what is right, red what is
/// wrong. Made for a few hundred labels at most.
#[must_use]
pub fn confusion_svg(labels: &[String], confusion: &Confusion) -> String {
    let count = labels.len().max(1) as f64;
    let cell = (CELLS_WIDTH / count).clamp(CELL_MIN, CELL_MAX);
    let font = (cell * 0.75).clamp(6.5, 13.0);
    let names: Vec<String> = labels.iter().map(|label| shown(label)).collect();
    let longest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let text = longest as f64 * CHARACTER * font + 8.0;
    let is_slanted = cell >= CELL_WITH_SLANT;
    let (above, beside) = if is_slanted { (text * 0.71 + font, text * 0.71) } else { (text, 0.0) };
    let (left, top, side) = (text + 24.0, above + 24.0, cell * count);
    let mut svg = begin(left + side + beside.max(12.0), top + side + 34.0, font);
    let (middle_x, middle_y) = (left + side / 2.0, top + side / 2.0);
    let _ = write!(
        svg,
        "<text x=\"14\" y=\"{middle_y:.0}\" text-anchor=\"middle\" font-size=\"13\" font-weight=\"bold\" transform=\"rotate(-90 14 {middle_y:.0})\">true label</text>\
         <text x=\"{middle_x:.0}\" y=\"16\" text-anchor=\"middle\" font-size=\"13\" font-weight=\"bold\">given label</text>\
         <text x=\"{left}\" y=\"{:.1}\" font-size=\"11\" fill=\"#555\">share of each row's pictures: blue is right, red is wrong</text>\
         <g transform=\"translate({left:.1} {top:.1})\">",
        top + side + 20.0,
    );
    svg.push_str(&grid(labels.len(), cell));
    for (index, name) in names.iter().enumerate() {
        let middle = (index as f64 + 0.5) * cell;
        let turn = if is_slanted { -45 } else { -90 };
        let _ = write!(
            svg,
            "<text x=\"-5\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>\
             <text transform=\"translate({:.1} -5) rotate({turn})\">{name}</text>",
            middle + font * 0.35,
            middle + if is_slanted { 0.0 } else { font * 0.35 },
        );
    }
    for truth in 0..labels.len() {
        let pictures = f64::from(confusion.pictures(truth));
        for (given, count) in confusion.row(truth).iter().enumerate().filter(|cell| *cell.1 > 0) {
            svg.push_str(&cell_svg(&names, (truth, given), f64::from(*count), pictures, cell));
        }
    }
    svg.push_str("</g></svg>\n");
    svg
}

/// One cell: the picture count of (true, given) among all of the true label.
fn cell_svg(
    names: &[String],
    (truth, given): (usize, usize),
    count: f64,
    pictures: f64,
    side: f64,
) -> String {
    let share = count / pictures;
    let (x, y) = (given as f64 * side, truth as f64 * side);
    let strongest = if truth == given { RIGHT } else { WRONG };
    // Rare mistakes stay visible.
    let depth = share.powf(0.6);
    let [red, green, blue] = strongest.map(|value| 255.0 + (value - 255.0) * depth);
    let mut svg = format!(
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{side:.1}\" height=\"{side:.1}\" fill=\"rgb({red:.0},{green:.0},{blue:.0})\">\
         <title>{} is {}: {count} of {pictures}</title></rect>",
        names[truth], names[given],
    );
    if side >= CELL_WITH_NUMBER {
        let ink = if depth > 0.6 { "#fff" } else { "#222" };
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"{:.1}\" fill=\"{ink}\" pointer-events=\"none\">{:.0}</text>",
            x + side / 2.0,
            y + side / 2.0 + side * 0.12,
            side * 0.33,
            share * 100.0,
        );
    }
    svg
}

/// Fine lines around all cells; every tenth is stronger where they are many.
fn grid(count: usize, cell: f64) -> String {
    let side = cell * count as f64;
    let strength =
        |index: usize| if count > 30 && index.is_multiple_of(10) { "#ccc" } else { "#eee" };
    let line = |index: usize| {
        let at = index as f64 * cell;
        let stroke = strength(index);
        format!("<path d=\"M0 {at:.1}H{side:.1}M{at:.1} 0V{side:.1}\" stroke=\"{stroke}\"/>")
    };
    let lines: String = (0..=count).map(line).collect();
    lines
        + &format!("<rect width=\"{side:.1}\" height=\"{side:.1}\" fill=\"none\" stroke=\"#999\"/>")
}

/// The reliability diagram: how often the best label is right, over the probability it was given with; a calibrated
/// head follows the dashed line. Grey at the foot: how many pictures each bin has.
#[must_use]
pub fn reliability_svg(calibration: &Calibration) -> String {
    let (left, top, width) = (48.0, 16.0, FIELD / BINS as f64);
    let mut svg = begin(left + FIELD + 16.0, top + FIELD + 44.0, 11.0);
    let largest = calibration.bins().iter().map(|bin| bin.pictures).max().unwrap_or(0).max(1);
    let _ = write!(svg, "<g transform=\"translate({left} {top})\">");
    for (index, bin) in calibration.bins().iter().enumerate() {
        let (Some(accuracy), Some(confidence)) = (bin.accuracy(), bin.confidence()) else {
            continue;
        };
        let x = index as f64 * width;
        let crowd = f64::from(bin.pictures) / f64::from(largest) * FIELD * 0.15;
        let (low, high) = (accuracy.min(confidence), accuracy.max(confidence));
        let bar = |from: f64, to: f64, fill: &str| {
            format!(
                "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{fill}\"/>",
                x + 1.0,
                (1.0 - to) * FIELD,
                width - 2.0,
                (to - from) * FIELD,
            )
        };
        let _ = write!(
            svg,
            "<g><title>{} pictures: right {:.1} %, probability {:.1} %</title>{}{}{}</g>",
            bin.pictures,
            accuracy * 100.0,
            confidence * 100.0,
            bar(0.0, accuracy, "#1b5ea8"),
            bar(low, high, "#e8a289"),
            bar(0.0, crowd / FIELD, "#9aa3ad"),
        );
    }
    for tick in 0..=5 {
        let (share, percent) = (f64::from(tick) / 5.0, tick * 20);
        let (x, y) = (share * FIELD, (1.0 - share) * FIELD);
        let _ = write!(
            svg,
            "<text x=\"{x:.0}\" y=\"{:.0}\" text-anchor=\"middle\">{percent}</text>\
             <text x=\"-6\" y=\"{:.0}\" text-anchor=\"end\">{percent}</text>",
            FIELD + 15.0,
            y + 4.0,
        );
    }
    let middle = FIELD / 2.0;
    let _ = writeln!(
        svg,
        "<path d=\"M0 {FIELD}L{FIELD} 0\" stroke=\"#444\" stroke-dasharray=\"4 4\"/>\
         <rect width=\"{FIELD}\" height=\"{FIELD}\" fill=\"none\" stroke=\"#999\"/>\
         <text x=\"{middle}\" y=\"{}\" text-anchor=\"middle\">probability of the best label, %</text>\
         <text x=\"-34\" y=\"{middle}\" text-anchor=\"middle\" transform=\"rotate(-90 -34 {middle})\">how often it is right, %</text>\
         </g></svg>",
        FIELD + 34.0,
    );
    svg
}

/// The head of a picture, with a white ground.
fn begin(width: f64, height: f64, font: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         font-family=\"sans-serif\" font-size=\"{font:.1}\" fill=\"#222\"><rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    )
}

/// A label as it stands in the picture: not too long, its marks escaped.
fn shown(label: &str) -> String {
    let is_short = label.chars().count() <= LABEL_CHARS_MAX;
    let start: String = label.chars().take(LABEL_CHARS_MAX - 1).collect();
    let label = if is_short { label.to_owned() } else { format!("{}\u{2026}", start.trim_end()) };
    htmlize::escape_text(&label).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::tests::evaluation;

    #[test]
    fn a_cell_says_what_was_taken_for_what() {
        let evaluation = evaluation();
        let mut labels = evaluation.labels().to_vec();
        labels[1] = format!("<dog> & {}", "very ".repeat(20));
        let svg = confusion_svg(&labels, &evaluation.confusion());
        for part in
            ["<title>cat is cat: 2 of 3</title>", "&lt;dog&gt; &amp; very", "\u{2026}</text>"]
        {
            assert!(svg.contains(part), "{part}: {svg}");
        }
        // Two right and two wrong kinds of answer; nothing for what never happened.
        assert_eq!(svg.matches("<title>").count(), 4);
        assert!(svg.ends_with("</svg>\n"));
    }

    #[test]
    fn hundreds_of_labels_have_a_picture_of_bounded_size() {
        let labels: Vec<String> = (0..200).map(|index| format!("label {index}")).collect();
        let svg = confusion_svg(&labels, &Confusion::new(200));
        let width: f64 = svg.split('"').nth(3).unwrap().parse().unwrap();
        assert!((1800.0..2000.0).contains(&width), "{width}");
    }

    #[test]
    fn empty_bins_have_no_bar() {
        let svg = reliability_svg(&evaluation().calibration());
        assert_eq!(svg.matches("<title>").count(), 4);
        assert!(svg.contains("<title>2 pictures: right 50.0 %, probability 70.0 %</title>"));
    }
}
