//! The profiles of boards that come with edgeclip, and which of them this machine is.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use toml::{Table, Value};

use super::layer::{Layer, merge};
use super::{About, ConfigError, Origin};

/// The name that stands for the board that edgeclip runs on.
pub const AUTO: &str = "auto";

/// Where Linux tells which board it runs on.
const DEVICE_TREE: &str = "/proc/device-tree/compatible";

/// What a machine is that no profile answers to.
const OTHER: &str = if cfg!(target_arch = "x86_64") { "x86-64-kiosk" } else { "generic" };

macro_rules! profiles {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("../../boards/", $name, ".toml")))),*]
    };
}

/// The profiles that come with edgeclip.
const PROFILES: &[(&str, &str)] = profiles![
    "raspberry-pi-zero-2w" "raspberry-pi-3b-plus" "raspberry-pi-4" "raspberry-pi-5" "raspberry-pi"
    "orange-pi-5" "rock-5" "rk3588" "radxa-zero-3" "jetson-nano" "jetson-orin" "beagley-ai"
    "x86-64-kiosk" "generic"
];

/// A board, as its profile tells of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Board {
    /// The profile's name, or its file.
    pub name: String,
    /// Whether it is what [`AUTO`] found, not what someone named.
    pub detected: bool,
    /// What the profile tells.
    pub about: About,
}

impl Board {
    /// The one with this name, or of this file; [`AUTO`] for this machine's.
    ///
    /// # Errors
    /// There is no such board, or its profile is wrong: with file and line.
    pub fn load(name: &str) -> Result<Self, ConfigError> {
        Ok(Self::with_layers(name)?.0)
    }

    /// The names of those that come with edgeclip.
    pub fn names() -> impl Iterator<Item = &'static str> {
        PROFILES.iter().map(|(name, _)| *name)
    }

    /// The name of that which answers to a device tree, as `/proc/device-tree/compatible` holds it: names with zeros
    /// between them, the most specific first. Without a device tree, as on a PC, and for an unknown board it is that
    /// of any machine of this architecture.
    #[must_use]
    pub fn detect(compatible: &str) -> &'static str {
        let answers = |name: &&str, wanted: &str| {
            Self::load(name).is_ok_and(|board| board.about.compatible.iter().any(|c| c == wanted))
        };
        let wanted = compatible.split('\0').filter(|name| !name.is_empty());
        let mut fitting = wanted.filter_map(|one| Self::names().find(|name| answers(name, one)));
        fitting.next().unwrap_or(OTHER)
    }

    /// The board, and the layers of its options, the lowest first.
    pub(super) fn with_layers(name: &str) -> Result<(Self, Vec<Layer>), ConfigError> {
        let detected = name == AUTO;
        let name = if detected { detect_here() } else { name };
        let layers = chain(name)?;
        let mut about = Table::new();
        for layer in &layers {
            merge(&mut about, layer.table_of::<About>("about")?);
        }
        let about = About::deserialize(Value::Table(about)).map_err(|error| {
            let origin = Origin { layer: name.to_owned(), line: None };
            ConfigError { origin, reason: error.message().to_owned() }
        })?;
        Ok((Self { name: name.to_owned(), detected, about }, layers))
    }
}

fn detect_here() -> &'static str {
    let tree = fs::read(DEVICE_TREE).unwrap_or_default();
    let name = Board::detect(&String::from_utf8_lossy(&tree));
    log::info!("board {AUTO}: this is {name}");
    name
}

/// A profile and what it is based on, the lowest first. Bases are built in, where none leads back to itself.
fn chain(name: &str) -> Result<Vec<Layer>, ConfigError> {
    let mut layers = vec![first(name)?];
    while let Some(top) = layers.last()
        && let Some(base) = top.text("base")?
    {
        let layer = built_in(&base).ok_or_else(|| {
            top.refuse("base", format!("there is no base '{base}': use {}", known()))
        })?;
        layers.push(layer);
    }
    layers.reverse();
    Ok(layers)
}

fn first(name: &str) -> Result<Layer, ConfigError> {
    if let Some(layer) = built_in(name) {
        return Ok(layer);
    }
    if name.contains(['/', '.']) {
        return Layer::board_file(Path::new(name));
    }
    let origin = Origin { layer: "board".to_owned(), line: None };
    let reason = format!("there is no board '{name}': use {AUTO}, {}, or a file", known());
    Err(ConfigError { origin, reason })
}

fn built_in(name: &str) -> Option<Layer> {
    let (name, text) = PROFILES.iter().find(|(known, _)| *known == name)?;
    Some(Layer::built_in(name, text))
}

fn known() -> String {
    Board::names().collect::<Vec<_>>().join(", ")
}
