//! Where the system tells about itself. All of it lies under a root, so that tests can make up a board.

use std::env;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Longest wait for a program's answer.
const PROGRAM_MAX: Duration = Duration::from_secs(5);

/// Most of a file or of an answer that is read, in bytes.
const BYTES_MAX: u64 = 1 << 20;

/// The machine that is looked at.
#[derive(Clone, Debug)]
pub struct Machine {
    root: PathBuf,
    /// Folders of programs.
    programs: Vec<PathBuf>,
}

impl Machine {
    /// This one.
    #[must_use]
    pub fn here() -> Self {
        let programs = env::var_os("PATH").map(|path| env::split_paths(&path).collect());
        Self { root: PathBuf::from("/"), programs: programs.unwrap_or_default() }
    }

    /// One whose files lie under `root`, with the programs of these folders.
    #[must_use]
    pub fn rooted(root: &Path, programs: &[PathBuf]) -> Self {
        Self { root: root.to_owned(), programs: programs.to_vec() }
    }

    /// Where a file of the system is: `/proc/meminfo`, say.
    #[must_use]
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// What a file of the system says, without white space at its ends; none where it is not there.
    #[must_use]
    pub fn read(&self, path: impl AsRef<Path>) -> Option<String> {
        read(&self.path(path))
    }

    /// The paths in a folder of the system whose names begin so, sorted.
    pub(super) fn list(&self, folder: &str, prefix: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.path(folder)).into_iter().flatten().flatten();
        let fits = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
        let mut paths: Vec<PathBuf> = fits.map(|entry| entry.path()).collect();
        paths.sort();
        paths
    }

    /// Where a program is, if it is installed.
    #[must_use]
    pub fn program(&self, name: &str) -> Option<PathBuf> {
        self.programs.iter().map(|folder| folder.join(name)).find(|path| path.is_file())
    }

    /// What a program answers; none where it is not installed, fails, or does not answer.
    pub(super) fn ask(&self, name: &str, arguments: &[&str]) -> Option<String> {
        let mut child = Command::new(self.program(name)?)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let until = Instant::now() + PROGRAM_MAX;
        // The answers are lines: they fit into the pipe.
        while matches!(child.try_wait(), Ok(None)) && Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
        let _ = child.kill();
        let status = child.wait().ok()?;
        let mut answer = String::new();
        child.stdout?.take(BYTES_MAX).read_to_string(&mut answer).ok()?;
        status.success().then(|| answer.trim().to_owned())
    }
}

/// What a small file says, without white space and zeros at its ends.
pub(super) fn read(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(BYTES_MAX).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    Some(text.trim_matches(|c: char| c.is_whitespace() || c == '\0').to_owned())
}

/// What this process may do with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rights {
    Missing,
    Denied,
    Fine,
}

/// Whether a file can be read and written, without opening it.
pub(super) fn rights(path: &Path) -> Rights {
    if !path.exists() {
        return Rights::Missing;
    }
    #[cfg(unix)]
    {
        use rustix::fs::{Access, access};
        if access(path, Access::READ_OK | Access::WRITE_OK).is_err() {
            return Rights::Denied;
        }
    }
    Rights::Fine
}

#[cfg(test)]
pub(super) mod tests {
    use std::os::unix::fs::PermissionsExt;

    use tempfile::TempDir;

    use super::*;

    /// A machine with these files, and programs that print these answers.
    pub(in crate::doctor) fn made_up(
        files: &[(&str, &str)],
        programs: &[(&str, &str)],
    ) -> (TempDir, Machine) {
        let folder = tempfile::tempdir().unwrap();
        let bin = folder.path().join("bin");
        let machine = Machine::rooted(folder.path(), std::slice::from_ref(&bin));
        fs::create_dir(&bin).unwrap();
        for (path, text) in files {
            let path = machine.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        for (name, script) in programs {
            let path = bin.join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        (folder, machine)
    }

    /// A machine as `tests/data/machines` describes it: paths, and what they say.
    pub(in crate::doctor) fn like(name: &str) -> (TempDir, Machine) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/machines");
        let text = fs::read_to_string(folder.join(format!("{name}.txt"))).unwrap();
        let files = text.split("=== ").skip(1).map(|part| part.split_once('\n').unwrap());
        let files: Vec<_> = files.map(|(path, text)| (path, text.replace("\\0", "\0"))).collect();
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (*path, &**text)).collect();
        made_up(&files, &[])
    }

    #[test]
    fn files_and_programs_are_those_of_the_root() {
        let (_folder, machine) = made_up(
            &[("/proc/device-tree/model", "Raspberry Pi 5\0")],
            &[("yes", "echo ' fine '"), ("no", "exit 3")],
        );
        assert_eq!(machine.read("/proc/device-tree/model").as_deref(), Some("Raspberry Pi 5"));
        assert_eq!(machine.read("/proc/meminfo"), None);
        assert_eq!(machine.ask("yes", &[]).as_deref(), Some("fine"));
        assert_eq!((machine.ask("no", &[]), machine.ask("sh", &[])), (None, None));
    }

    #[test]
    fn rights_are_asked_without_opening() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(rights(folder.path()), Rights::Fine);
        assert_eq!(rights(&folder.path().join("none")), Rights::Missing);
    }
}
