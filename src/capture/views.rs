//! From a shot to what is classified: decoded, turned, mirrored, cropped, cut into regions.

use super::jpeg::Decoder;
use super::region::Cutter;
use super::still::StillGate;
use super::turn::Turn;
use super::{Encoding, Frame, Moment, Options, PictureError, Shot, picture, pixels};

/// Makes upright frames of shots; keeps its buffers from shot to shot.
pub struct Views {
    turn: Turn,
    jpeg: Decoder,
    /// The picture as it lies, where it has to be turned or cropped.
    raw: Frame,
    whole: Frame,
    regions: Vec<Cutter>,
    gate: StillGate,
}

impl Views {
    /// The views that the options ask for; they must have passed [`Options::check`].
    #[must_use]
    pub fn new(options: &Options) -> Self {
        Self {
            turn: Turn::new(options),
            jpeg: Decoder::default(),
            raw: Frame::blank(),
            whole: Frame::blank(),
            regions: options.region.iter().map(Cutter::new).collect(),
            gate: StillGate::new(options),
        }
    }

    /// Makes the frames of a new shot.
    ///
    /// # Errors
    /// [`PictureError`] where the shot is damaged; what the frames then show is left open.
    pub fn develop(&mut self, shot: &Shot) -> Result<(), PictureError> {
        let as_it_is = self.turn.is_nothing();
        let decoded = if as_it_is { &mut self.whole } else { &mut self.raw };
        match shot.encoding {
            Encoding::File => *decoded = picture::decode(&shot.bytes)?,
            Encoding::Jpeg => self.jpeg.decode(&shot.bytes, decoded)?,
            Encoding::Yuyv | Encoding::Nv12 | Encoding::Grey => pixels::to_rgb(shot, decoded)?,
        }
        if !as_it_is {
            self.turn.run(&self.raw, &mut self.whole);
        }
        for region in &mut self.regions {
            region.run(&self.whole);
        }
        Ok(())
    }

    /// The whole picture: upright and cropped.
    #[must_use]
    pub fn whole(&self) -> &Frame {
        &self.whole
    }

    /// How many frames there are to classify: one per region, one where there are none.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.regions.len().max(1)
    }

    /// The name of a region; none where there are no regions.
    #[must_use]
    pub fn name(&self, index: usize) -> Option<&str> {
        self.regions.get(index).map(Cutter::name)
    }

    /// What of the last shot is classified in a region; the whole picture where there are no regions.
    #[must_use]
    pub fn frame(&self, index: usize) -> &Frame {
        self.regions.get(index).map_or(&self.whole, Cutter::frame)
    }

    /// Whether the last shot shows the same as the last one for which this was asked and answered with no, so that
    /// it need not be classified; see [`Options::still`]. Never, where the option is off. Ask once per shot.
    pub fn is_still(&mut self, moment: Moment) -> bool {
        self.gate.is_still(&self.whole, moment)
    }
}
