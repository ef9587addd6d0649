# Copyright: (c) 2026, senet.firewall contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build a targeted policy from a source tree of Fedora's kind, once, and install it in a guest's root.

    python -m tests.lab.policy SOURCE      builds the policy, and the image debian12-fedora with it

SOURCE is an archive, a directory or a git checkout of Fedora's selinux-policy with `dist/targeted` in it. The tests on
that guest find it in SENET_POLICY_SOURCE, else as the only `../shared/policies/*.tar.xz` beside the checkout.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from .building import LAB, Progress, cache_root, digest, in_chroot, locked, output, require, step
from .errors import LabError

SOURCE_VARIABLE = "SENET_POLICY_SOURCE"
SHARED = LAB.parents[1].parent / "shared" / "policies"
TYPE = "targeted"
KEEP_POLICIES = 2
TOOLS = ("checkmodule", "gawk", "m4", "make", "semodule_package", "tar", "xz")
# As Fedora's package is built, but for the number of the policy's version: that is for checkmodule to choose.
OPTIONS = (
    f"NAME={TYPE}", "TYPE=mcs", "DISTRO=redhat", "SYSTEMD=y", "UBAC=n", "DIRECT_INITRC=n", "MONOLITHIC=n",
    "UNK_PERMS=allow", "MLS_CATS=1024", "MCS_CATS=1024", "QUIET=y",
)  # fmt: skip
CONFIGURATION = ("booleans.conf", "modules.conf", "users")
# Of a package of its own in Fedora: a source tree may have it, and its list of modules does not name it.
EXTRA_MODULE = "container"
# From the source tree to /etc/selinux/targeted.
SETTINGS = {
    "config/file_contexts.subs_dist": "contexts/files/file_contexts.subs_dist",
    "dist/booleans.subs_dist": "booleans.subs_dist",
    "dist/targeted/setrans.conf": "setrans.conf",
    "dist/customizable_types": "contexts/customizable_types",
}
MADE_BY_MAKE = (".git", "tmp")


def policy_source() -> Path | None:
    """The source of Fedora's policy that this machine has; None without one."""
    named = os.environ.get(SOURCE_VARIABLE)
    if named:
        return Path(named)
    archives = sorted(SHARED.glob("*.tar.xz"))
    return archives[0] if len(archives) == 1 else None


def required_source() -> Path:
    """The same. Raises LabError where there is none."""
    source = policy_source()
    if source is None:
        raise LabError(f"No source of Fedora's policy is known: set {SOURCE_VARIABLE} to an archive or a directory.")
    return source


def source_files(source: Path) -> list[Path]:
    """The files of a source tree, by relative path: what git knows or would take, else all but what make leaves."""
    if (source / ".git").exists():
        listed = ["git", "-C", str(source), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        named = (Path(name) for name in output(listed).split("\0") if name)
    else:
        named = (path.relative_to(source) for path in source.rglob("*"))
    return sorted(
        path for path in named
        if path.parts[0] not in MADE_BY_MAKE and path.suffix != ".pp" and (source / path).is_file()
    )  # fmt: skip


def policy_digest(source: Path) -> str:
    """What a built policy depends on: the source and this recipe. Raises LabError where there is no source."""
    if source.is_file():
        inputs = {"archive": source.read_bytes()}
    elif source.is_dir():
        inputs = {str(path): (source / path).read_bytes() for path in source_files(source)}
    else:
        raise LabError(f"{source} is no source of a policy: it does not exist. Name an archive or a directory.")
    return digest({**inputs, "/recipe": Path(__file__).read_bytes()})


def ensure_policy(source: Path, progress: Progress) -> Path:
    """A directory with the policy's `modules` and its `settings`; built when the cache does not have it.

    Raises LabError when the source is none, a tool is missing, or a step fails.
    """
    root = cache_root() / "policies"
    target = root / policy_digest(source)
    with locked(root / "locks", progress):
        if not target.is_dir():
            require(TOOLS, "A policy")
            with tempfile.TemporaryDirectory(prefix="build-", dir=root) as work:
                _build(source, Path(work), progress)
                os.replace(Path(work) / "result", target)
        os.utime(target)
        built = [path.parent for path in root.glob("*/modules")]
        for old in sorted(built, key=lambda path: path.stat().st_mtime)[:-KEEP_POLICIES]:
            shutil.rmtree(old)
    return target


def _build(source: Path, work: Path, progress: Progress) -> None:
    tree, result, log = work / "source", work / "result", work / "step.log"
    progress(f"building the policy of {source}")
    tree.mkdir()
    if source.is_file():
        step(progress, "unpacking its source", ["tar", "-xf", str(source), "-C", str(tree)], log)
    else:
        for path in source_files(source):
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / path, tree / path, follow_symlinks=False)
    top = top_directory(tree, source)
    configure(top)
    make = ["make", f"-j{os.cpu_count() or 1}", *OPTIONS]
    step(progress, "compiling its base module", [*make, "base.pp"], log, top)
    step(progress, "compiling its modules", [*make, "modules"], log, top)
    step(progress, "making its settings", [*make, f"DESTDIR={work}/root", "install-appconfig"], log, top)
    (result / "modules").mkdir(parents=True)
    shutil.copytree(work / f"root/etc/selinux/{TYPE}", result / "settings")
    for origin, place in SETTINGS.items():
        (result / "settings" / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(top / origin, result / "settings" / place)
    (result / "settings/contexts/files/file_contexts.subs").touch()
    for module in [*top.glob("*.pp"), top / "dist/permissivedomains.cil"]:
        shutil.copyfile(module, result / "modules" / module.name)
    progress(f"the policy has {len(list((result / 'modules').iterdir()))} modules")


def top_directory(tree: Path, source: Path) -> Path:
    """The directory of an unpacked source that holds the Makefile. Raises LabError when something of it is missing."""
    inner = [path for path in tree.iterdir() if path.is_dir()]
    top = inner[0] if len(inner) == 1 and not (tree / "Makefile").exists() else tree
    needed = ["Makefile", "policy/flask", *(f"dist/targeted/{name}" for name in CONFIGURATION), *SETTINGS]
    for name in [*needed, "dist/permissivedomains.cil"]:
        if not (top / name).exists():
            raise LabError(f"{source} is no source tree of Fedora's policy: it has no {name}.")
    return top


def configure(top: Path) -> None:
    """Choose the targeted policy's booleans, modules and users."""
    for name in CONFIGURATION:
        chosen = top / "policy" / name
        chosen.unlink(missing_ok=True)
        shutil.copyfile(top / "dist/targeted" / name, chosen)
    modules = top / "policy/modules.conf"
    text = modules.read_text()
    has = (top / f"policy/modules/contrib/{EXTRA_MODULE}.te").exists()
    if has and not any(line.split("=")[0].strip() == EXTRA_MODULE for line in text.splitlines()):
        modules.write_text(f"{text.rstrip()}\n{EXTRA_MODULE} = module\n")


def install(progress: Progress, built: Path, paths: Path, tree: Path, log: Path) -> None:
    """Put a policy of ensure_policy(), and the types of the guest's paths, into the policy store of a guest's root."""
    shutil.copytree(built / "settings", tree / f"etc/selinux/{TYPE}", dirs_exist_ok=True)
    work = tree / "root/policy"
    shutil.copytree(built / "modules", work / "modules")
    shutil.copyfile(paths, work / "debian_paths.cil")
    (tree / f"var/lib/selinux/{TYPE}").mkdir(parents=True, exist_ok=True)
    script = (
        f"cd /root/policy && semodule --noreload --store {TYPE} --priority 100 --install modules/* "
        "--priority 300 --install debian_paths.cil"
    )
    step(progress, "installing the policy", in_chroot(tree, "sh", "-c", script), log)
    shutil.rmtree(work)


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: python -m tests.lab.policy SOURCE", file=sys.stderr)
        return 2
    os.environ[SOURCE_VARIABLE] = sys.argv[1]
    from .image import ensure_image

    try:
        ensure_image(lambda line: print(line, flush=True), "debian12-fedora")
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
