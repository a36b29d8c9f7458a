//! `edgeclip run`: camera, labels and outputs, until it is stopped.

use std::env;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::Args;
use edgeclip::config::{Board, Config};
use edgeclip::pipeline::{Appliance, Handle, Summary};
use edgeclip::prompts::built_in_set;
use toml::Value;

use super::{ComputeArguments, Failure, ModelArguments, Outcome, Precision, say};

/// Time that a clean stop has, pins and all.
const STOP_MAX: Duration = Duration::from_secs(2);

#[derive(Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) config: ConfigArguments,
    #[arg(
        long,
        value_name = "SOURCE",
        help = "Where pictures come from: v4l:/dev/video0, rpicam, rtsp://.., http://.., dir:PATH, or a video file"
    )]
    source: Option<String>,
    /// Labels, separated by commas; may be repeated. Nothing is kept of them
    #[arg(long, value_name = "LABELS", group = "words")]
    labels: Vec<String>,
    /// File of labels, watched for changes: one a line, or a labels.toml
    #[arg(long, value_name = "FILE", group = "words")]
    labels_file: Option<PathBuf>,
    /// Labels of a published evaluation, such as cifar10; `edgeclip labels sets` shows them. Nothing is kept of them
    #[arg(long, value_name = "NAME", group = "words")]
    label_set: Option<String>,
    /// Classifier that `edgeclip eval --linear-probe --save` trained, in place of words; watched for changes
    #[arg(long, value_name = "FILE", group = "words")]
    head: Option<PathBuf>,
    /// Frames a second of a folder or file, and asked of a camera
    #[arg(long, value_name = "N")]
    fps: Option<u32>,
    /// Serve the page and the API on this address, such as 127.0.0.1:8780
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Leave no traces: no label set is kept, no prompt is cached
    #[arg(long)]
    no_state: bool,
    #[command(flatten)]
    model: ModelArguments,
}

/// The options that every command with a configuration has.
#[derive(Args)]
pub(super) struct ConfigArguments {
    /// Configuration file; `edgeclip config reference` shows every key
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Profile of the board, by name or as a file; auto finds out which this is, `edgeclip config boards` shows all
    #[arg(long, value_name = "NAME|FILE")]
    pub(super) board: Option<String>,
    #[arg(
        long,
        value_name = "DIR",
        help = "Writable folder for label sets and the prompt cache [default: $STATE_DIRECTORY, \
                else $XDG_STATE_HOME/edgeclip]"
    )]
    pub(super) state_dir: Option<PathBuf>,
}

impl ConfigArguments {
    /// The merged configuration, with `given` over all of it, and what the environment says where nothing else does.
    pub(super) fn load(&self, mut given: Vec<(&str, Value)>) -> Result<Config, Failure> {
        if let Some(folder) = &self.state_dir {
            given.push(("state_dir", path(folder)));
        }
        let config = Config::load(self.board.as_deref(), self.config.as_deref(), &given);
        let mut config = config.map_err(|error| Failure::Usage(error.into()))?;
        let options = &mut config.options;
        options.state_dir = options.state_dir.take().or_else(state_dir);
        if options.device.is_empty() {
            options.device = host_name();
        }
        Ok(config)
    }
}

impl Arguments {
    /// What the command line sets of the configuration.
    fn given(&self) -> Vec<(&'static str, Value)> {
        let text = |text: &String| Value::String(text.clone());
        let listens = self.listen.is_some().then_some(Value::Boolean(true));
        let given = [
            ("source.url", self.source.as_ref().map(text)),
            ("source.fps", self.fps.map(|fps| Value::Integer(i64::from(fps)))),
            ("labels.file", self.labels_file.as_deref().map(path)),
            ("labels.head", self.head.as_deref().map(path)),
            ("http.enabled", listens),
            ("http.listen", self.listen.as_ref().map(text)),
        ];
        let given = given.into_iter().filter_map(|(key, value)| Some((key, value?)));
        given.chain(self.model.given()).collect()
    }
}

impl ModelArguments {
    /// What the command line sets of the configuration's model.
    pub(super) fn given(&self) -> impl Iterator<Item = (&'static str, Value)> {
        let ComputeArguments { precision, threads, cores, kernel } = &self.compute;
        let precision = match precision {
            Precision::Auto => None,
            Precision::Float => Some("float"),
            Precision::Int8 => Some("int8"),
        };
        let text = |text: &String| Value::String(text.clone());
        let given = [
            ("model.path", self.model.as_deref().map(path)),
            ("model.precision", precision.map(|name| Value::String(name.to_owned()))),
            ("model.threads", threads.map(|threads| Value::Integer(i64::from(threads)))),
            ("model.cores", cores.as_ref().map(|cores| Value::String(cores.to_string()))),
            ("model.kernel", kernel.as_ref().map(text)),
        ];
        given.into_iter().filter_map(|(key, value)| Some((key, value?)))
    }
}

impl Arguments {
    /// What a run is told, with all the command line says.
    pub(super) fn merged(&self) -> Result<Config, Failure> {
        let mut config = self.config.load(self.given())?;
        let options = &mut config.options;
        if self.no_state {
            options.state_dir = None;
        }
        // What the command line names takes the place of all that the configuration names.
        if self.labels_file.is_some() {
            options.labels.set = None;
        }
        if self.labels_file.is_some() || self.label_set.is_some() || !self.labels.is_empty() {
            options.labels.head = None;
        }
        Ok(config)
    }

    /// Labels that the command line brings, as a labels file has them.
    pub(super) fn labels(&self) -> Result<Option<String>, Failure> {
        if let Some(name) = &self.label_set {
            let set = built_in_set(name).context("--label-set").map_err(Failure::Usage)?;
            return Ok(Some(set.text.to_owned()));
        }
        let names: Vec<&str> = self.labels.iter().flat_map(|labels| labels.split(',')).collect();
        Ok((!names.is_empty()).then(|| names.join("\n")))
    }
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let config = arguments.merged()?;
    let labels = arguments.labels()?;
    if let Some(Board { name, about, .. }) = config.board().filter(|board| board.detected) {
        say(format_args!("this is board {name} ({})", about.board));
    }
    let handle = Handle::default();
    listen_to_signals(handle.clone())?;
    let appliance = Appliance::start_with(&config.options, labels, handle)?;
    let Summary { inferred, failed, events } = appliance.run()?;
    say(format_args!("{inferred} frames, {failed} failed, {events} events"));
    Ok(if inferred == 0 && failed > 0 { Outcome::SomeFailed } else { Outcome::Done })
}

fn path(path: &Path) -> Value {
    Value::String(path.display().to_string())
}

/// The folder that systemd gives, else the user's.
fn state_dir() -> Option<PathBuf> {
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
    let systemd = variable("STATE_DIRECTORY").and_then(|dirs| env::split_paths(&dirs).next());
    let xdg = || variable("XDG_STATE_HOME").map(PathBuf::from);
    let home = || variable("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    systemd.or_else(|| Some(xdg().or_else(home)?.join("edgeclip")))
}

/// The host's name, as far as a device may be called by it.
fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let name: String =
        name.chars().filter(|c| c.is_ascii_alphanumeric() || "-_.".contains(*c)).collect();
    if name.is_empty() { "edgeclip".to_owned() } else { name }
}

/// SIGTERM and SIGINT stop the loop; a second one, when the first has had its time, ends the program at once. SIGHUP
/// reads the labels file again.
fn listen_to_signals(handle: Handle) -> anyhow::Result<()> {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals =
        signal_hook::iterator::Signals::new([SIGHUP, SIGINT, SIGTERM]).context("signals")?;
    let listen = move || {
        let mut stopping: Option<Instant> = None;
        for signal in signals.forever() {
            match stopping {
                _ if signal == SIGHUP => handle.reload(),
                // While it starts, pins are at their safe levels, and nothing is half written.
                None if !handle.is_running() => std::process::exit(0),
                None => {
                    stopping = Some(Instant::now());
                    handle.stop();
                }
                Some(since) if since.elapsed() < STOP_MAX => {}
                Some(_) => drop(signal_hook::low_level::emulate_default_handler(signal)),
            }
        }
    };
    std::thread::Builder::new().name("signals".to_owned()).spawn(listen)?;
    Ok(())
}
