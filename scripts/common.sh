# What the scripts share; sourced, not run. Everything built stays under target/.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
export CARGO_TERM_COLOR=never
tools=$root/target/tools
mkdir -p "$tools"

# need PACKAGE...: installs the Debian packages that are missing.
need() {
  local package missing=()
  for package; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  local sudo=()
  ((EUID == 0)) || sudo=(sudo -n)
  if [ ! -e "$tools/apt-updated" ]; then
    "${sudo[@]}" apt-get update -qq </dev/null && touch "$tools/apt-updated"
  fi
  DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" \
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
