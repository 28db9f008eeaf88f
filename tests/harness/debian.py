"""Unpack Debian packages, with all that they depend on, into a private folder.

Nothing is installed into the system. The packages come from the mirror that this machine's apt
uses, signed by the same keys: from Debian unstable, from another release of Debian, or from the
machine's own release, which may be another distribution's. The folder is laid out like a root
directory (`usr/bin`, `usr/include` ...).

Command line:
    python3 tests/harness/debian.py [--release NAME] PACKAGE...    prints the folder
"""

import argparse
import os
import platform
import re
import tempfile
from pathlib import Path
from typing import NamedTuple

import cache
import commands
import relocate

UNSTABLE = "sid"

# Names that a machine's own release may go by in its apt settings, besides its code name.
ALIASES = ("stable", "testing", "unstable", "sid")

# What is unpacked is used with the machine's own compiler, which other C headers would not fit.
LEFT_OUT = re.compile(
    r"(gcc|g\+\+|cpp|binutils)(-.*)?|lib(gcc|stdc\+\+)-\d+-dev"
    r"|libc6-dev|libc-dev-bin|linux-libc-dev"
)
# What is older than unstable also runs with the machine's C and C++ libraries, and what installing
# packages takes is of no use.
LEFT_OUT_OF_RELEASES = re.compile(
    r"libc6|libgcc-s1|libstdc\+\+6|libc-bin|dpkg|debconf|perl-base|tar"
)


class Source(NamedTuple):
    """One source in the machine's apt settings."""

    mirror: str
    suites: set[str]
    components: str
    signed_by: str


def own_release() -> str:
    """The code name of the release that this machine runs."""
    try:
        return platform.freedesktop_os_release()["VERSION_CODENAME"]
    except (OSError, KeyError) as error:
        raise commands.HarnessError("this machine has no apt: no packages to unpack") from error


def unpack(*packages: str, release: str = UNSTABLE) -> Path:
    """Return the folder with these packages; they are downloaded only the first time."""
    final = cache.root() / f"debian-{release}" / "_".join(sorted(packages))

    def make(folder: Path) -> None:
        commands.say(f"unpacking {' '.join(packages)} of {release}")
        with tempfile.TemporaryDirectory() as scratch:
            for archive in _download(packages, release, Path(scratch)):
                commands.output("dpkg", "-x", archive, folder)
        relocate.relocate(folder, final)

    return cache.make_once(final, make)


def _download(packages: tuple[str, ...], release: str, scratch: Path) -> list[Path]:
    apt = _private_apt(release, scratch)
    commands.output(*apt, "update")
    simulated = commands.output(*apt, "-s", "--no-install-recommends", "install", *packages)
    closure = re.findall(r"^Inst (\S+)", simulated, re.MULTILINE)
    archives = scratch / "archives"
    archives.mkdir()
    commands.output(*apt, "download", *_wanted(closure, release), cwd=archives)
    return sorted(archives.iterdir())


def _wanted(closure: list[str], release: str) -> list[str]:
    wanted = [package for package in closure if not LEFT_OUT.fullmatch(package)]
    if release != UNSTABLE or release == own_release():
        wanted = [package for package in wanted if not LEFT_OUT_OF_RELEASES.fullmatch(package)]
    return wanted


def _private_apt(release: str, scratch: Path) -> list[str]:
    """An apt-get command that keeps a state of its own, apart from the machine's."""
    for folder in ("empty", "lists/partial", "cache/archives/partial"):
        (scratch / folder).mkdir(parents=True)
    (scratch / "status").touch()
    (scratch / "debian.sources").write_text(_source(release))
    settings: dict[str, Path | str] = {
        "Dir::Etc::SourceList": scratch / "debian.sources",
        "Dir::Etc::SourceParts": scratch / "empty",
        "Dir::Etc::Preferences": scratch / "empty/preferences",
        "Dir::Etc::PreferencesParts": scratch / "empty",
        "Dir::State::Lists": scratch / "lists",
        "Dir::State::Status": scratch / "status",
        "Dir::Cache": scratch / "cache",
        "APT::Update::Error-Mode": "any",
    }
    if os.geteuid() == 0:
        # Root's apt would download as another user, who may not write into the private folders.
        settings["APT::Sandbox::User"] = "root"
    return ["apt-get", *(f"--option={name}={value}" for name, value in settings.items())]


def _source(release: str) -> str:
    """An apt source for `release`, at the mirror from which this machine takes its own release."""
    own = own_release()
    distribution = platform.freedesktop_os_release()["ID"]
    if release != own and distribution != "debian":
        raise commands.HarnessError(f"{distribution} has no packages of Debian {release}")
    for source in _machine_sources():
        if not source.suites.isdisjoint({own, *ALIASES}):
            return (
                f"Types: deb\nURIs: {source.mirror}\nSuites: {release}\n"
                f"Components: {source.components}\n"
                + (f"Signed-By: {source.signed_by}\n" if source.signed_by else "")
            )
    raise commands.HarnessError(f"no source in /etc/apt has the suite {own}")


def _machine_sources() -> list[Source]:
    folder = Path("/etc/apt")
    sources = []
    for path in sorted(folder.glob("sources.list.d/*.sources")):
        sources += _parse_stanzas(path.read_text())
    for path in sorted([*folder.glob("sources.list"), *folder.glob("sources.list.d/*.list")]):
        sources += _parse_lines(path.read_text())
    return sources


def _parse_stanzas(text: str) -> list[Source]:
    """Read apt's newer format: stanzas of fields, whose further lines are indented."""
    sources = []
    for stanza in re.split(r"\n\s*\n", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)):
        fields = dict(re.findall(r"^([\w-]+):[ \t]*(.*(?:\n[ \t].*)*)", stanza, re.MULTILINE))
        if "deb" in fields.get("Types", "").split():
            sources.append(
                Source(
                    fields["URIs"],
                    set(fields["Suites"].split()),
                    fields.get("Components", ""),
                    fields.get("Signed-By", ""),
                )
            )
    return sources


def _parse_lines(text: str) -> list[Source]:
    """Read apt's older format: `deb [options] mirror suite component ...`."""
    pattern = r"^deb\s+(?:\[(.*?)\]\s+)?(\S+)\s+(\S+)(.*)$"
    sources = []
    for options, mirror, suite, components in re.findall(pattern, text, re.MULTILINE):
        signed_by = re.search(r"signed-by=(\S+)", options)
        sources.append(Source(mirror, {suite}, components, signed_by[1] if signed_by else ""))
    return sources


def main() -> None:
    parser = argparse.ArgumentParser(
        description="Unpack packages and print the folder they are in."
    )
    parser.add_argument(
        "--release", default=UNSTABLE, help="a code name, or 'own' for this machine's"
    )
    parser.add_argument("package", nargs="+")
    arguments = parser.parse_args()
    release = own_release() if arguments.release == "own" else arguments.release
    print(unpack(*arguments.package, release=release))


if __name__ == "__main__":
    with commands.errors_reported():
        main()
