//! `edgeclip man`: manual pages, for packages.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Command, CommandFactory};
use clap_mangen::Man;
use edgeclip::disk;

use super::{Cli, Failure, Outcome};

/// What the first page says beyond `--help`.
const MORE: &str = r#".SH "EXIT STATUS"
0 when all went well, 1 when something failed, 2 when the command made no sense.
.SH ENVIRONMENT
.TP
.B EDGECLIP_LOG
What is told on standard error: error, warn, info, debug, or a list of module=level.
.TP
.B EDGECLIP_MODELS
The folder of models. Without it edgeclip/models in $XDG_DATA_HOME or ~/.local/share.
.TP
.B STATE_DIRECTORY
The folder for label sets and the prompt cache; systemd sets it.
.TP
.BR HF_ENDPOINT ", " HF_TOKEN ", " HF_HOME ", " HF_HUB_OFFLINE
As Hugging Face has them, for edgeclip model pull.
.SH FILES
.TP
.I /etc/edgeclip/config.toml
What the service is told; edgeclip config reference prints every key.
.TP
.I /var/lib/edgeclip
What the service keeps.
"#;

#[derive(Args)]
pub(super) struct Arguments {
    /// Folder that the pages go to
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    write(&command, &arguments.folder, MORE)?;
    Ok(Outcome::Done)
}

/// Writes the page of a command with `more` at its end, then those of its subcommands.
fn write(command: &Command, folder: &Path, more: &str) -> anyhow::Result<()> {
    let source = concat!("edgeclip ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).source(source).manual("edgeclip");
    let title = command.get_display_name().unwrap_or(command.get_name()).to_uppercase();
    // An empty date has to be quoted here: it would be left out, and what follows would be taken for one.
    let man = man.title(title).date("\"\"");
    let mut page = Vec::new();
    man.render(&mut page)?;
    page.extend(more.bytes());
    let path = folder.join(man.get_filename());
    disk::publish(&path, &page).with_context(|| path.display().to_string())?;
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    shown.into_iter().try_for_each(|command| write(command, folder, ""))
}
