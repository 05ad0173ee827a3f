"""A Debian that has nothing of Lever and nothing of this machine but the languages' runtimes.

debootstrap makes it once below .deps/. Commands run in it by bubblewrap: its files are read-only, /tmp and
/root are empty and gone afterwards, /work is the folder of whoever runs them. The network is the machine's, so
that a host on loopback can be called, and packages' own dependencies fetched.
"""
import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig

ROOT = pathlib.Path(__file__).resolve().parents[2]
BASE = ROOT / ".deps" / "debian-root"
RELEASE = "bookworm"
# What the runtimes are linked with; and gcc, which Go needs for any package that has C in it.
PACKAGES = ["ca-certificates", "gcc", "libc6-dev", "libatomic1", "libbz2-1.0", "libffi8", "liblzma5",
            "libreadline8", "libsqlite3-0", "libssl3", "libstdc++6", "zlib1g"]
# How this machine reaches the languages' registries.
PASSED = ("PIP_", "GO", "NODE_EXTRA", "SSL_CERT", "npm_config_", "http_proxy", "https_proxy", "no_proxy",
          "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
NOT_PASSED = ("GOPATH", "GOROOT", "GOCACHE", "GOMODCACHE", "GOBIN")


def mirror():
    """Where this machine takes Debian's packages from."""
    listed = subprocess.run(["apt-get", "indextargets", "--format", "$(SITE)", "Created-By: Packages"],
                            capture_output=True, text=True, check=True).stdout.split()
    sites = [site for site in listed if not site.rstrip("/").endswith("security")]
    if not sites:
        raise RuntimeError("apt-get knows no place for Debian's packages; run apt-get update")
    return sites[0]


def make():
    """The root, made if it is not there."""
    if (BASE / "made").exists():
        return
    shutil.rmtree(BASE, ignore_errors=True)
    BASE.parent.mkdir(exist_ok=True)
    subprocess.run(["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", RELEASE,
                    str(BASE), mirror()], check=True, stdout=subprocess.DEVNULL)
    # Where something is bound, there must be something.
    for folder in ("work", "packages"):
        (BASE / folder).mkdir()
    for file in ("etc/hosts", "etc/resolv.conf"):
        (BASE / file).touch()
    for path in (runtimes()["go"], runtimes()["python"]):
        (BASE / path.relative_to("/")).mkdir(parents=True, exist_ok=True)
    (BASE / "made").touch()


def runtimes():
    """The folders and files of Node, Python and Go on this machine."""
    go = subprocess.run(["go", "env", "GOROOT"], capture_output=True, text=True, check=True).stdout.strip()
    node = pathlib.Path(shutil.which("node")).resolve()
    npm = pathlib.Path(shutil.which("npm")).resolve().parents[1]
    return {"go": pathlib.Path(go), "node": node, "npm": npm,
            "python": pathlib.Path(sysconfig.get_config_var("prefix")).resolve()}


class CleanRoot:
    def __init__(self, packages):
        make()
        self.packages = packages  # the folder that is /packages inside
        self.runtimes = runtimes()

    def command(self, folder, variables, shared=()):
        def bound(*paths):
            return [word for path in paths for word in ("--ro-bind", str(path), str(path))]
        path = [str(self.runtimes["go"] / "bin"), str(self.runtimes["python"] / "bin"), "/usr/local/bin",
                "/usr/bin", "/bin"]
        environment = {name: value for name, value in os.environ.items()
                       if name.startswith(PASSED) and name not in NOT_PASSED}
        environment |= {"PATH": ":".join(path), "HOME": "/root", "LANG": "C.UTF-8", **variables}
        words = ["bwrap", "--ro-bind", str(BASE), "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp",
                 "--tmpfs", "/root", "--tmpfs", "/usr/local",
                 *bound("/etc/ssl", "/etc/resolv.conf", "/etc/hosts"),
                 *bound(self.runtimes["go"], self.runtimes["python"]),
                 # In /tmp, which is otherwise empty.
                 *[word for path in shared for word in ("--bind", str(path), str(path))],
                 "--ro-bind", str(self.runtimes["node"]), "/usr/local/bin/node",
                 "--ro-bind", str(self.runtimes["npm"]), "/usr/local/lib/node_modules/npm",
                 "--symlink", "../lib/node_modules/npm/bin/npm-cli.js", "/usr/local/bin/npm",
                 "--symlink", "../lib/node_modules/npm/bin/npx-cli.js", "/usr/local/bin/npx",
                 "--ro-bind", str(self.packages), "/packages", "--bind", str(folder), "/work",
                 "--chdir", "/work", "--unshare-pid", "--die-with-parent", "--clearenv"]
        for name, value in environment.items():
            words += ["--setenv", name, value]
        return words

    def run(self, folder, script, variables=None, shared=(), timeout_s=300):
        """Runs a shell script in `folder`, with the folders `shared` as they are; gives (exit code, what it
        printed)."""
        done = subprocess.run([*self.command(folder, variables or {}, shared), "/bin/sh", "-euc", script],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=timeout_s)
        return done.returncode, done.stdout


if __name__ == "__main__":
    make()
    sys.exit(subprocess.call([*CleanRoot(ROOT / "build/release/packages").command(os.getcwd(), {}), "/bin/sh"]))
