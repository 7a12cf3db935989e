//! The tools a step needs and the project brings itself.
//!
//! Promise: versions are pinned (`requirements.txt`, `package-lock.json`); everything lands under `target/xtask`, is
//! announced first, and is left alone while its list of versions has not changed, so a second run needs no network.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command::{answers, cargo, folder, program, root, run};
use crate::output;

/// A Cargo subcommand that does not come with the toolchain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tool {
    /// Runs the tests.
    Nextest,
    /// Checks the dependencies.
    Deny,
}

/// A Cargo command that finds the tool; its first argument is still the tool's name.
pub(crate) fn cargo_tool(tool: Tool) -> Result<Command> {
    let have_nextest = || answers(&mut cargo(["nextest", "--version"]));
    if tool == Tool::Nextest && have_nextest() {
        return Ok(cargo::<&str>([]));
    }
    let python = python(&root().join("xtask/requirements.txt"))?;
    let bin = python
        .parent()
        .context("the interpreter lies in a folder")?;
    let mut command = cargo::<&str>([]);
    command.env("PATH", path_with(bin)?);
    Ok(command)
}

/// The interpreter of our virtual environment, with everything a requirements file lists.
pub(crate) fn python(requirements: &Path) -> Result<PathBuf> {
    installed(&folder().join("venv"), requirements, &[])
}

/// The same in an environment of its own, because `az` demands other versions than everybody else. Its 700 MB are
/// compiled as they are imported, which little of them ever is: half a minute less.
pub(crate) fn python_for_az(requirements: &Path) -> Result<PathBuf> {
    installed(&folder().join("az"), requirements, &["--no-compile"])
}

fn installed(venv: &Path, requirements: &Path, options: &[&str]) -> Result<PathBuf> {
    let python = venv.join("bin/python");
    if !answers(&mut program(&python, ["-m", "pip", "--version"])) {
        make_environment(venv)?;
    }
    let wanted = read(requirements)?;
    let kind = requirements
        .parent()
        .and_then(Path::file_name)
        .context("a file in a folder")?;
    let stamp = venv.join(format!("installed-{}.txt", kind.to_string_lossy()));
    if !is_installed(&stamp, &wanted) {
        output::line(&format!(
            "installing the Python packages of {} into {}",
            requirements.display(),
            venv.display()
        ));
        let mut pip = program(
            &python,
            [
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
            ],
        );
        pip.args(options);
        run(pip.args(["--no-deps", "--requirement"]).arg(requirements))?;
        write(&stamp, &wanted)?;
    }
    Ok(python)
}

/// A folder that holds copies of a folder's files beside the packages its `package-lock.json` lists.
///
/// Node finds packages next to the importing file only, and ours do not belong among the sources.
pub(crate) fn node(sources: &Path) -> Result<PathBuf> {
    let kind = sources
        .file_name()
        .context("the sources lie in a folder of their own")?;
    let place = folder().join("node").join(kind);
    fs::create_dir_all(&place).with_context(|| format!("making {}", place.display()))?;
    for entry in fs::read_dir(sources).with_context(|| format!("reading {}", sources.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), place.join(entry.file_name()))?;
        }
    }
    let wanted = read(&sources.join("package-lock.json"))?;
    let stamp = place.join("installed.txt");
    if !is_installed(&stamp, &wanted) {
        output::line(&format!(
            "installing the npm packages of {} into {}",
            sources.display(),
            place.display()
        ));
        let mut npm = program(
            "npm",
            [
                "ci",
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
                "--loglevel=error",
            ],
        );
        run(npm.current_dir(&place))?;
        write(&stamp, &wanted)?;
    }
    Ok(place)
}

fn make_environment(venv: &Path) -> Result<()> {
    output::line(&format!(
        "making a Python environment in {}",
        venv.display()
    ));
    if venv.exists() {
        fs::remove_dir_all(venv)
            .with_context(|| format!("removing a broken {}", venv.display()))?;
    }
    let make = || run(program("python3", ["-m", "venv"]).arg(venv));
    let Err(error) = make() else { return Ok(()) };
    // Debian keeps the module apart from the interpreter.
    if !have_apt() {
        return Err(error);
    }
    apt_install("python3-venv")?;
    make()
}

/// Installs a package of the system if what it brings is not there, and if this is a system where that can be done.
/// Whoever needs it finds out whether it is there now.
pub(crate) fn system_package(name: &str, is_there: &dyn Fn() -> bool) -> Result<()> {
    if is_there() || !have_apt() {
        return Ok(());
    }
    apt_install(name)
}

fn have_apt() -> bool {
    answers(&mut program("apt-get", ["--version"])) && answers(&mut program("test", ["-w", "/usr"]))
}

fn apt_install(package: &str) -> Result<()> {
    output::line(&format!("installing the system's package {package}"));
    run(&mut program("apt-get", ["update", "--quiet=2"]))?;
    let mut install = program("apt-get", ["install", "--yes", "--quiet=2"]);
    install.args(["--no-install-recommends", package]);
    run(install.env("DEBIAN_FRONTEND", "noninteractive"))
}

fn is_installed(stamp: &Path, wanted: &str) -> bool {
    fs::read_to_string(stamp).is_ok_and(|installed| installed == wanted)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

/// Our `PATH` with a folder before all others.
pub(crate) fn path_with(first: &Path) -> Result<OsString> {
    let Some(path) = std::env::var_os("PATH") else {
        bail!("there is no PATH")
    };
    let all = std::iter::once(first.to_path_buf()).chain(std::env::split_paths(&path));
    Ok(std::env::join_paths(all)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_list_of_versions_is_installed_again() {
        let folder = tempfile::tempdir().unwrap();
        let stamp = folder.path().join("installed.txt");
        assert!(!is_installed(&stamp, "a==1\n"), "nothing is there yet");
        write(&stamp, "a==1\n").unwrap();
        assert!(is_installed(&stamp, "a==1\n"));
        assert!(!is_installed(&stamp, "a==2\n"));
    }

    #[test]
    fn our_tools_come_before_those_of_the_machine() {
        let path = path_with(Path::new("/ours/bin")).unwrap();
        assert_eq!(
            std::env::split_paths(&path).next(),
            Some(PathBuf::from("/ours/bin"))
        );
    }

    #[test]
    fn every_python_package_is_pinned_to_one_version() {
        for file in [
            "xtask/requirements.txt",
            "conformance/az/requirements.txt",
            "conformance/python/requirements.txt",
            "conformance/rabbitmq/requirements.txt",
            "examples/database/requirements.txt",
            "examples/work-item/requirements.txt",
        ] {
            for line in read(&root().join(file)).unwrap().lines() {
                let pinned = line.is_empty() || line.starts_with('#') || line.contains("==");
                assert!(pinned, "{file}: {line}");
            }
        }
    }
}
