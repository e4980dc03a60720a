# What the scripts share; sourced, not run. Everything built stays under target/.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
export CARGO_TERM_COLOR=never
tools=$root/target/tools
mkdir -p "$tools"
# Whether somebody can answer a question. Steps have no terminal of their own, so this is asked here.
asks=
if [ -t 0 ] && [ -z "${CI:-}" ]; then asks=1; fi

# on_fedora NAME: the packages of Fedora that stand for one of Debian, by scripts/packages.
on_fedora() {
  local debian fedora
  while read -r debian fedora; do
    [ "$debian" = "$1" ] || continue
    [ "$fedora" = - ] && { echo "scripts/packages: Fedora has no $1, which this step needs: run it on Debian" >&2; return 1; }
    echo "$fedora"
    return 0
  done <scripts/packages
  echo "scripts/packages does not list $1: add its line" >&2
  return 1
}

# missing PACKAGE...: those of them that are not installed, in the words of this machine's package manager.
missing() {
  local package here
  for package; do
    if command -v dpkg-query >/dev/null; then
      dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || echo "$package"
    else
      here=$(on_fedora "$package") || return
      # shellcheck disable=SC2086 # one name of Debian may be several of Fedora
      rpm -q $here >/dev/null 2>&1 || echo $here
    fi
  done
}

# need PACKAGE...: installs what is missing of these packages, by Debian's names. Asks first where somebody can answer.
need() {
  local packages sudo=() answer
  packages=$(missing "$@") || return
  [ -n "$packages" ] || return 0
  mapfile -t packages < <(tr ' ' '\n' <<<"$packages")
  if [ -n "$asks" ]; then
    printf 'install %s? [y/N] ' "${packages[*]}" >/dev/tty
    read -r answer </dev/tty
    [[ $answer = [yY]* ]] || { echo "not installed: ${packages[*]}" >&2; return 1; }
  fi
  ((EUID == 0)) || sudo=(sudo -n)
  if command -v dnf >/dev/null && ! command -v apt-get >/dev/null; then
    "${sudo[@]}" dnf install -y -q "${packages[@]}" </dev/null >"$tools/dnf.log" 2>&1 || { tail -n 20 "$tools/dnf.log" >&2; return 1; }
    return
  fi
  if [ ! -e "$tools/apt-updated" ]; then
    "${sudo[@]}" apt-get update -qq </dev/null && touch "$tools/apt-updated"
  fi
  DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${packages[@]}" \
    </dev/null >"$tools/apt.log" 2>&1 || { tail -n 20 "$tools/apt.log" >&2; return 1; }
}

# need_crate CRATE VERSION: installs a cargo tool into target/tools, once.
need_crate() {
  export PATH=$tools/bin:$PATH
  command -v "$1" >/dev/null && return 0
  timeout 900 cargo install -q --locked --root "$tools" "$1" --version "$2" </dev/null
}

# debian_rust: switches to Debian's second Rust, whose sources build std for any target.
debian_rust() {
  need rustc-web cargo-web rust-web-src
  export PATH=/usr/bin:/bin RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc RUSTC_BOOTSTRAP=1
  unset RUSTUP_TOOLCHAIN CARGO
}

# no_rustup: keeps tools from fetching components behind our back; `cargo +nightly` does not go through this name.
no_rustup() {
  mkdir -p "$tools/stub"
  printf '#!/bin/sh\necho "rustup blocked: $*" >&2\nexit 1\n' >"$tools/stub/rustup"
  chmod +x "$tools/stub/rustup"
  export PATH=$tools/stub:$PATH
}

# What scripts/portability tests by `all`, and scripts/long one by one.
machines=(upper musl aarch64 armv7 riscv64 s390x linux510 linux61 pages16 pages64 bsd)
