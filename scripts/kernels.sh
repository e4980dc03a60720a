# Sourced by scripts/portability: runs the test programs of both crates under an older Debian kernel, in qemu without
# acceleration.

# debian_package SUITE NAME PATTERN FOLDER: unpacks a package of another Debian release in FOLDER. The package is the
# dependency of NAME whose name matches PATTERN. It comes from this machine's package source.
debian_package() {
  local suite=$1 name=$2 pattern=$3 folder=$4 own package
  local state=$tools/apt-$suite
  mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
  own=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
  apt-get indextargets --format '$(SITE) $(RELEASE)' 'Created-By: Packages' 'Origin: Debian' 'Component: main' |
    awk -v own="$own" -v suite="$suite" -v keys=/usr/share/keyrings/debian-archive-keyring.gpg \
      'index($2, own) == 1 { sub(own, suite, $2); print "deb [signed-by=" keys "] " $1 " " $2 " main" }' |
    sort -u >"$state/sources.list"
  local apart=(-o "Dir::Etc::SourceList=$state/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::State::Lists=$state/lists" -o "Dir::Cache=$state/cache" -o APT::Sandbox::User=root)
  apt-get -qq "${apart[@]}" update </dev/null || true # a suite that is gone does not matter if another has the package
  package=$(apt-cache "${apart[@]}" depends "$name" | awk -v pattern="$pattern" '$1 == "Depends:" && $2 ~ pattern { print $2; exit }')
  [ -n "$package" ] || { echo "no $name in $suite" >&2; return 1; }
  (cd "$folder" && apt-get -qq "${apart[@]}" download "$package" </dev/null && dpkg -x "$package"_*.deb unpacked)
}

# test_programs TRIPLE: folder and program of each test of both crates, a line each, without the tests that only look at
# the repository, need the compiler, or count allocations.
test_programs() {
  cargo test --no-run -p ossature-sys -p ossature --tests --target "$1" --target-dir target/portability -Zbuild-std \
    --message-format=json </dev/null 2>"$root/target/portability/build.log" |
    sed -n 's/.*"manifest_path":"\([^"]*\)\/Cargo.toml".*"executable":"\([^"]*\)".*/\1 \2/p' | grep -Ev '/(tidy|mistakes|decoding)-[^/]*$'
}

# linux SUITE VERSION: the program without std, then every test program, under that kernel.
linux() {
  local suite=$1 version=$2 dir=$tools/linux$2 triple=x86_64-unknown-linux-musl
  need qemu-system-x86 cpio busybox-static
  scripts/no-std --static-only >/dev/null
  musl_target
  mkdir -p "$dir" target/portability
  [ -e "$dir/vmlinuz" ] || {
    debian_package "$suite" linux-image-cloud-amd64 "^linux-image-${version//./\\.}" "$dir"
    cp "$dir"/unpacked/boot/vmlinuz-* "$dir/vmlinuz"
  }
  cargo build -q -p ossature "${upper_examples[@]}" --target "$triple" --target-dir target/portability -Zbuild-std </dev/null
  local guest=$dir/root folder program
  rm -rf "$guest"
  mkdir -p "$guest/bin"
  cp scripts/guest-init "$guest/init"
  cp "$(command -v busybox)" "$guest/bin/busybox"
  cp target/no-std/static "$guest/bin/no-std"
  # Those of busybox do nothing under another name; the tests copy them.
  echo 'int main(void) { return 0; }' | musl-gcc -static -s -x c - -o "$guest/bin/true"
  echo 'int main(void) { return 1; }' | musl-gcc -static -s -x c - -o "$guest/bin/false"
  # Where the programs look for themselves, for the examples and for what comes with the tests.
  git ls-files -z tests examples docs sys/tests | xargs -0 cp --parents -t "$(mkdir -p "$guest$root" && echo "$guest$root")"
  test_programs "$triple" >"$guest/programs"
  [ -s "$guest/programs" ] || { tail -n 30 target/portability/build.log >&2; echo "linux$version: FAILED to build" >&2; exit 1; }
  {
    cut -d' ' -f2 "$guest/programs"
    printf "$root/target/portability/$triple/debug/examples/%s\n" storm words
  } | while read -r program; do
    mkdir -p "$guest${program%/*}"
    strip -o "$guest$program" "$program"
  done
  (cd "$guest" && find . | cpio -o -H newc --quiet >"$dir/initramfs")
  # Init restarts the machine when it is done: with -no-reboot qemu ends then.
  local log=target/portability/linux$version.log
  timeout 7200 qemu-system-x86_64 -accel tcg,thread=multi -smp 2 -m 5120 -nographic -no-reboot -kernel "$dir/vmlinuz" \
    -initrd "$dir/initramfs" -append "console=ttyS0 quiet panic=-1 mitigations=off" </dev/null 2>&1 | sed -u 's/\r//g' >"$log" || true
  rm -rf "$guest" "$dir/initramfs"
  if ! grep -aq '^GUEST: done, 0 failed' "$log"; then
    grep -aE '^(GUEST: .*(FAILED|done)|test .*FAILED|HANG|thread .* panicked)' -A 4 "$log" | head -n 80 >&2
    tail -n 15 "$log" >&2
    echo "linux$version: FAILED (${log#"$root/"})" >&2
    exit 1
  fi
  count "linux$version" "$log"
}
