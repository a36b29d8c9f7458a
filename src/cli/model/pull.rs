//! `edgeclip model pull`: a model from a hub becomes one file to copy to a board.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::Args;
use edgeclip::bundle::Bundle;
use edgeclip::hub::{
    Client, FetchedFile, Licence, Listing, Repository, Revision, Settings, Terms, known_export,
};
use edgeclip::import::{Selection, Variant, select};
use edgeclip::pipeline::{self, ModelError, TakenIn};
use indicatif::HumanBytes;
use serde::Serialize;

use super::confirm::confirm;
use super::import::{FactArguments, warn_of_int8};
use super::list;
use super::progress::Progress;
use crate::cli::{Failure, Outcome, print_json, say};

/// Digits of a commit that are shown.
const COMMIT_SHOWN: usize = 12;

#[derive(Args)]
pub(super) struct Arguments {
    /// The repository, such as openai/clip-vit-base-patch32
    #[arg(value_name = "REPOSITORY")]
    repository: Repository,
    #[arg(
        long,
        value_name = "FILE.eclip|DIR",
        help = "The file to write; or the folder of a bundle with its ONNX graphs, which float needs [default: NAME.eclip in the folder of models: $EDGECLIP_MODELS, else $XDG_DATA_HOME/edgeclip/models]"
    )]
    out: Option<PathBuf>,
    /// Branch, tag, commit or refs/pr/NUMBER [default: main]
    #[arg(long, value_name = "REVISION")]
    revision: Option<Revision>,
    /// The int8 kernel of the board that a file is for [default: this machine's; any works on any board, which packs it
    /// anew at each start where it is another's]
    #[arg(long = "for", value_name = "KERNEL")]
    kernel: Option<String>,
    #[command(flatten)]
    facts: FactArguments,
    /// Take all from the cache of files fetched before
    #[arg(long)]
    offline: bool,
    /// Accept the licence, whatever it is
    #[arg(long)]
    yes: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What is to be fetched.
struct Source {
    listing: Listing,
    selection: Selection,
    licence: Option<Licence>,
}

#[derive(Serialize)]
struct Line<'a> {
    path: String,
    name: &'a str,
    model: &'a str,
    repository: &'a str,
    /// The commit.
    revision: &'a str,
    licence: &'a str,
    graphs: &'a str,
    files: &'a [FetchedFile],
    image_int8_cosine: f32,
    text_int8_cosine: Option<f32>,
}

pub(super) fn run(arguments: &Arguments) -> Result<Outcome, Failure> {
    let mut options = arguments.facts.options();
    let name = options.name.get_or_insert_with(|| arguments.repository.name().to_owned());
    let target = target(arguments, name)?;
    let mut settings = Settings::from_env().map_err(|error| Failure::Usage(error.into()))?;
    settings.offline |= arguments.offline;
    let client = Client::new(settings);
    let mut progress = Progress::new();
    let Source { listing, selection, licence } =
        find(&client, arguments, options.variant, &mut progress)?;
    introduce(&client, &listing, &selection, licence.as_ref());
    agree(licence.as_ref(), arguments.yes)?;
    let snapshot = client.fetch(&listing, &selection.wanted, &mut |event| progress.show(&event))?;
    say(format_args!("taking it in: each tower is run in float and in int8"));
    options.licence = options.licence.or_else(|| Some(licence?.to_string()));
    options.repository = Some((listing.repository.to_string(), listing.commit.clone()));
    // Much may have happened while it came.
    check_free(arguments, &target)?;
    let taken = pipeline::take_in(&snapshot.folder, &target, &options, arguments.kernel.as_deref());
    let taken = taken.map_err(|error| match error {
        ModelError::Import(error) => anyhow!(
            "{:#} (a file of the cache, which other programs share: change a copy of the folder, and `edgeclip model import` that)",
            anyhow!(error)
        ),
        error => error.into(),
    })?;
    report(&taken, &listing, &snapshot.files, arguments.json)?;
    Ok(Outcome::Done)
}

/// Where the model goes, if it can: nothing is fetched that could not be put there.
fn target(arguments: &Arguments, name: &str) -> Result<PathBuf, Failure> {
    let usage = |error: anyhow::Error| Failure::Usage(error);
    let target = if let Some(out) = &arguments.out {
        out.clone()
    } else {
        let store = list::store()?;
        let (folder, file) = (store.folder(), store.file(name));
        let file = file.map_err(|error| usage(error.into()))?;
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        file
    };
    check_free(arguments, &target)?;
    let fits = pipeline::check_target(&target, arguments.kernel.as_deref());
    fits.map_err(|error| usage(error.into()))?;
    check_writable(target.parent().unwrap_or(Path::new("")))?;
    Ok(target)
}

fn check_writable(folder: &Path) -> Result<(), Failure> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let words = "nothing can be written there: name another place with --out or EDGECLIP_MODELS";
    tempfile::tempfile_in(folder).with_context(|| format!("{}: {words}", folder.display()))?;
    Ok(())
}

/// What is there already gives way to a newer pull of the same repository alone.
fn check_free(arguments: &Arguments, target: &Path) -> Result<(), Failure> {
    let asked = arguments.repository.as_str();
    // In the folder of models, a file would hide the bundle of the same name.
    let bundle = target.with_extension("");
    let is_hidden = arguments.out.is_none() && bundle.is_dir();
    let Some(there) = target.exists().then_some(target).or(is_hidden.then_some(&bundle)) else {
        return Ok(());
    };
    let found = Bundle::open(there);
    let source = found.as_ref().map(|bundle| bundle.manifest().provenance.as_ref());
    let what = match source {
        Ok(Some(of)) if !of.revision.is_empty() => {
            if [Some(asked), known_export(asked)].contains(&Some(of.repository.as_str())) {
                return Ok(());
            }
            format!("a model of {}", of.repository)
        }
        Ok(_) => "a model of another origin".to_owned(),
        Err(_) => "no model, or a damaged one".to_owned(),
    };
    let way_out = match (&arguments.out, &found) {
        (Some(_), _) => "name another file with --out, or move that one away",
        (None, Ok(_)) => {
            "name this one otherwise with --name, or remove that one (edgeclip model rm)"
        }
        (None, Err(_)) => "name this one otherwise with --name, or move that one away",
    };
    let there = there.display();
    Err(Failure::Usage(anyhow!("{there} is there already, {what}, not of {asked}: {way_out}")))
}

/// The repository, or the one that holds its ONNX graphs; and the files to take of it.
fn find(
    client: &Client,
    arguments: &Arguments,
    variant: Option<Variant>,
    progress: &mut Progress,
) -> Result<Source, Failure> {
    let repository = &arguments.repository;
    let revision = arguments.revision.clone().unwrap_or_else(Revision::main);
    let listing = client.listing(repository, &revision, &mut |event| progress.show(&event))?;
    let licence = listing.card.licence.clone();
    if has_graphs(&listing) {
        let selection = choose(&listing, variant)?;
        let licence = licence.or_else(|| licence_of_base(client, &listing, progress));
        return Ok(Source { listing, selection, licence });
    }
    let Some(export) = known_export(repository.as_str()) else {
        return Err(anyhow!(
            "{repository} holds no ONNX graphs, and no export of it is known. Make them of its checkpoint, on a machine with \
             Python: `python models/export.py CHECKPOINT FOLDER`, then `edgeclip model import FOLDER NAME.eclip`"
        )
        .into());
    };
    if arguments.revision.is_some() {
        return Err(Failure::Usage(anyhow!(
            "{repository} holds no ONNX graphs at {revision}; an export of its main branch is {export}: pull that, with a \
             --revision of its own"
        )));
    }
    say(format_args!("{repository} holds no ONNX graphs: taking {export}, an export of it"));
    let export: Repository = export.parse()?;
    let listing = client.listing(&export, &revision, &mut |event| progress.show(&event))?;
    let selection = choose(&listing, variant)?;
    // Of an export, the terms are those of the weights that it was made of.
    let licence = licence.or_else(|| listing.card.licence.clone());
    Ok(Source { listing, selection, licence })
}

fn has_graphs(listing: &Listing) -> bool {
    listing
        .files
        .iter()
        .any(|file| Path::new(&file.path).extension().is_some_and(|end| end == "onnx"))
}

/// Which of a repository's files are taken.
fn choose(listing: &Listing, variant: Option<Variant>) -> Result<Selection, Failure> {
    let names: Vec<&str> = listing.files.iter().map(|file| file.path.as_str()).collect();
    Ok(select(&names, variant).with_context(|| listing.repository.to_string())?)
}

/// The licence of the model that a repository's was made of, where its own card names none.
fn licence_of_base(client: &Client, listing: &Listing, progress: &mut Progress) -> Option<Licence> {
    let base: Repository = listing.card.base_model.as_deref()?.parse().ok()?;
    let listing = client.listing(&base, &Revision::main(), &mut |event| progress.show(&event));
    match listing {
        Ok(listing) => listing.card.licence,
        Err(error) => {
            log::info!("the licence of {base} is not known: {error}");
            None
        }
    }
}

/// What is going to be fetched, and on what terms.
fn introduce(client: &Client, listing: &Listing, selection: &Selection, licence: Option<&Licence>) {
    let commit = &listing.commit[..COMMIT_SHOWN.min(listing.commit.len())];
    let of = |what: &Option<String>, words: &str| {
        let what = what.as_deref().map(|what| what.replace(char::is_control, " "));
        what.map_or_else(String::new, |what| format!(", {words}{what}"))
    };
    say(format_args!(
        "{} at {} (commit {commit}){}{}",
        listing.repository,
        listing.revision,
        of(&listing.card.library, "for "),
        of(&listing.card.base_model, "made of "),
    ));
    match licence {
        Some(licence) => say(format_args!("licence of the weights: {licence}")),
        None => say(format_args!(
            "warning: its card names no licence of the weights: ask those who made them before you rely on it"
        )),
    }
    say(format_args!("{}", selection.reason));
    let count = selection.wanted.len();
    if client.settings().offline {
        say(format_args!("{count} files, from the cache"));
    } else {
        let bytes = client.bytes_to_come(listing, &selection.wanted);
        say(format_args!("{count} files, {} to come", HumanBytes(bytes)));
    }
}

/// Weights that not everybody may use for everything are fetched when the user agrees.
fn agree(licence: Option<&Licence>, yes: bool) -> Result<(), Failure> {
    let Some(licence) = licence else { return Ok(()) };
    let terms = licence.terms();
    if terms == Terms::Open {
        return Ok(());
    }
    say(format_args!("warning: the licence {licence}: {terms}"));
    confirm("The weights have a licence that restricts their use, or may do so.", yes)
}

fn report(taken: &TakenIn, listing: &Listing, files: &[FetchedFile], json: bool) -> io::Result<()> {
    let TakenIn { path, manifest, digest, image_int8, text_int8 } = taken;
    warn_of_int8(taken);
    let path = path.display().to_string();
    if !json {
        return writeln!(io::stdout(), "{path}");
    }
    print_json(&Line {
        path,
        name: &manifest.name,
        model: digest,
        repository: listing.repository.as_str(),
        revision: &listing.commit,
        licence: &manifest.licence,
        graphs: manifest.provenance.as_ref().map_or("", |of| of.graphs.as_str()),
        files,
        image_int8_cosine: *image_int8,
        text_int8_cosine: *text_int8,
    })
}
