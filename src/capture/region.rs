//! Cutting a polygon out of a picture.

use super::{Frame, Region};

/// What is painted around a polygon: the mean of the pictures that CLIP was trained with, so that a model sees nothing there.
pub const NEUTRAL: [u8; 3] = [123, 117, 104];

/// Cuts one region out of each picture; keeps its buffers.
pub(super) struct Cutter {
    region: Region,
    /// The picture's size that the spans are for.
    size: (u32, u32),
    /// Left, top, width, height of the bounding box, in pixels.
    bounds: [u32; 4],
    /// The pixels of each row of the box that lie inside: row, first, behind the last.
    spans: Vec<[u32; 3]>,
    frame: Frame,
}

impl Cutter {
    pub(super) fn new(region: &Region) -> Self {
        let (region, frame) = (region.clone(), Frame::blank());
        Self { region, size: (0, 0), bounds: [0; 4], spans: Vec::new(), frame }
    }

    pub(super) fn name(&self) -> &str {
        &self.region.name
    }

    pub(super) fn frame(&self) -> &Frame {
        &self.frame
    }

    pub(super) fn run(&mut self, picture: &Frame) {
        if self.size != (picture.width, picture.height) {
            self.measure(picture.width, picture.height);
        }
        let [left, top, width, height] = self.bounds;
        let out = self.frame.reshape(width, height);
        out.as_chunks_mut().0.fill(NEUTRAL);
        for &[row, from, to] in &self.spans {
            let length = (to - from) as usize * 3;
            let to_at = (row as usize * width as usize + from as usize) * 3;
            let from_at =
                ((top + row) as usize * picture.width as usize + (left + from) as usize) * 3;
            out[to_at..to_at + length].copy_from_slice(&picture.rgb[from_at..from_at + length]);
        }
    }

    /// Finds the bounding box and the pixels whose middle is inside, for pictures of this size.
    fn measure(&mut self, width: u32, height: u32) {
        let corners = &self.region.polygon;
        let bound = |axis: usize, side: u32| {
            let along = || corners.iter().map(|corner| corner[axis] * side as f32);
            let from = (along().fold(f32::MAX, f32::min).floor() as u32).min(side - 1);
            let to = along().fold(0.0, f32::max).ceil() as u32;
            (from, to.clamp(from + 1, side))
        };
        let ((left, right), (top, bottom)) = (bound(0, width), bound(1, height));
        self.size = (width, height);
        self.bounds = [left, top, right - left, bottom - top];
        self.spans.clear();
        let mut crossings = Vec::new();
        for row in 0..bottom - top {
            let y = (top + row) as f32 + 0.5;
            crossings.clear();
            crossings.extend(crossings_at(corners, width as f32, height as f32, y));
            crossings.sort_by(f32::total_cmp);
            // Inside lies what has an odd number of edges to its left.
            for pair in crossings.as_chunks().0 {
                // The first pixel whose middle is not left of the edge.
                let [from, to] =
                    pair.map(|x: f32| ((x - 0.5).ceil().max(0.0) as u32).clamp(left, right) - left);
                if from < to {
                    self.spans.push([row, from, to]);
                }
            }
        }
    }
}

/// Where the polygon's edges cross a row, in pixels from the left.
fn crossings_at(
    corners: &[[f32; 2]],
    width: f32,
    height: f32,
    y: f32,
) -> impl Iterator<Item = f32> {
    let next = corners.iter().cycle().skip(1);
    corners.iter().zip(next).filter_map(move |(a, b)| {
        let [[ax, ay], [bx, by]] = [a, b].map(|corner| [corner[0] * width, corner[1] * height]);
        ((ay <= y) != (by <= y)).then(|| ax + (y - ay) / (by - ay) * (bx - ax))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which pixels of a `side` x `side` picture are kept, row by row.
    fn kept(polygon: &[[f32; 2]], side: u32) -> Vec<String> {
        let region = Region { name: "r".into(), polygon: polygon.to_vec() };
        let mut cutter = Cutter::new(&region);
        let rgb = vec![1; (side * side * 3) as usize];
        cutter.run(&Frame::new(side, side, rgb).unwrap());
        let frame = cutter.frame();
        let letter = |rgb: &[u8; 3]| {
            if *rgb == [1; 3] {
                '#'
            } else if *rgb == NEUTRAL {
                '.'
            } else {
                '?'
            }
        };
        let rows = frame.rgb().chunks_exact(frame.width() as usize * 3);
        rows.map(|row| row.as_chunks().0.iter().map(letter).collect()).collect()
    }

    #[test]
    fn a_rectangle_is_cut_out_whole() {
        let middle = [[0.25, 0.25], [0.75, 0.25], [0.75, 0.75], [0.25, 0.75]];
        assert_eq!(kept(&middle, 4), ["##", "##"]);
        let all = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]];
        assert_eq!(kept(&all, 3), ["###", "###", "###"]);
    }

    #[test]
    fn outside_a_polygon_it_is_neutral() {
        assert_eq!(
            kept(&[[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], 4),
            ["###.", "##..", "#...", "...."]
        );
        let ring = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.5, 0.5], [0.0, 1.0]];
        assert_eq!(kept(&ring, 4), ["####", "####", "#.##", "...#"]);
    }

    #[test]
    fn a_region_without_area_is_a_neutral_pixel() {
        assert_eq!(kept(&[[0.5, 0.5]; 3], 4), ["."]);
        assert_eq!(kept(&[[1.0, 1.0]; 3], 4), ["."]);
    }

    #[test]
    fn the_right_part_of_the_picture_is_taken() {
        let region = Region {
            name: "r".into(),
            polygon: vec![[0.5, 0.5], [1.0, 0.5], [1.0, 1.0], [0.5, 1.0]],
        };
        let mut cutter = Cutter::new(&region);
        let rgb: Vec<u8> = (0..16).flat_map(|i| [i; 3]).collect();
        cutter.run(&Frame::new(4, 4, rgb).unwrap());
        assert_eq!(cutter.frame().rgb(), [10, 11, 14, 15].map(|i| [i; 3]).concat());
        // A picture of another size is measured anew.
        cutter.run(&Frame::new(2, 2, (0..12).collect()).unwrap());
        assert_eq!(cutter.frame().rgb(), [9, 10, 11]);
    }
}
