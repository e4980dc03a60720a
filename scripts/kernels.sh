# Sourced by scripts/portability: runs test programs of both crates under another Debian kernel, in qemu without
# acceleration: an older one, or one with larger pages.

# debian_package SUITE NAME PATTERN FOLDER [MACHINE]: unpacks a package of another Debian release in FOLDER. The package
# is NAME, or with a PATTERN the dependency of NAME whose name matches. It comes from this machine's package source.
debian_package() {
  local suite=$1 name=$2 pattern=$3 folder=$4 machine=${5:-$(dpkg --print-architecture)} own package=$2
  local state=$tools/apt-$suite-$machine
  mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
  own=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
  apt-get indextargets --format '$(SITE) $(RELEASE)' 'Created-By: Packages' 'Origin: Debian' 'Component: main' |
    awk -v own="$own" -v suite="$suite" -v keys=/usr/share/keyrings/debian-archive-keyring.gpg \
      'index($2, own) == 1 { sub(own, suite, $2); print "deb [signed-by=" keys "] " $1 " " $2 " main" }' |
    sort -u >"$state/sources.list"
  local apart=(-o "Dir::Etc::SourceList=$state/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::State::Lists=$state/lists" -o "Dir::Cache=$state/cache" -o APT::Sandbox::User=root
    -o "APT::Architecture=$machine" -o "APT::Architectures::=$machine")
  apt-get -qq "${apart[@]}" update </dev/null || true # a suite that is gone does not matter if another has the package
  [ -z "$pattern" ] || package=$(apt-cache "${apart[@]}" depends "$name" | awk -v pattern="$pattern" '$1 == "Depends:" && $2 ~ pattern { print $2; exit }')
  [ -n "$package" ] || { echo "no $name in $suite" >&2; return 1; }
  (cd "$folder" && apt-get -qq "${apart[@]}" download "$package" </dev/null && dpkg -x "$package"_*.deb unpacked)
}

# test_programs TRIPLE [ARGUMENT...]: folder and program of each test that cargo builds for the arguments, a line each;
# without arguments, of each test of both crates but those that only look at the repository, need the compiler, or count
# allocations.
test_programs() {
  local triple=$1
  shift
  (($#)) || set -- -p ossature-sys -p ossature --tests
  cargo test --no-run "$@" --target "$triple" --target-dir target/portability -Zbuild-std \
    --message-format=json </dev/null 2>"$root/target/portability/build.log" |
    sed -n 's/.*"manifest_path":"\([^"]*\)\/Cargo.toml".*"executable":"\([^"]*\)".*/\1 \2/p' | grep -Ev '/(tidy|mistakes|decoding)-[^/]*$'
}

# boot NAME FOLDER TRIPLE BUSYBOX COMPILER STRIP QEMU...: runs the programs of FOLDER/root/programs in a machine of its
# own. FOLDER has its kernel, and BUSYBOX, COMPILER and STRIP are for its programs.
boot() {
  local name=$1 dir=$2 triple=$3 busybox=$4 compiler=$5 strip=$6 guest=$2/root program
  shift 6
  [ -s "$guest/programs" ] || { tail -n 30 target/portability/build.log >&2; echo "$name: FAILED to build" >&2; exit 1; }
  mkdir -p "$guest/bin"
  cp scripts/guest-init "$guest/init"
  cp "$busybox" "$guest/bin/busybox"
  # Those of busybox do nothing under another name; the tests copy them.
  echo 'int main(void) { return 0; }' | "$compiler" -static -s -x c - -o "$guest/bin/true"
  echo 'int main(void) { return 1; }' | "$compiler" -static -s -x c - -o "$guest/bin/false"
  # Where the programs look for themselves, for the examples and for what comes with the tests.
  git ls-files -z tests examples docs sys/tests | xargs -0 cp --parents -t "$(mkdir -p "$guest$root" && echo "$guest$root")"
  {
    cut -d' ' -f2 "$guest/programs"
    # The examples that some tests run, where they were built.
    find "$root/target/portability/$triple/debug/examples" -name storm -o -name words 2>/dev/null || true
  } | while read -r program; do
    mkdir -p "$guest${program%/*}"
    "$strip" -o "$guest$program" "$program"
  done
  (cd "$guest" && find . | cpio -o -H newc --quiet >"$dir/initramfs")
  # Init restarts the machine when it is done: with -no-reboot qemu ends then.
  local log=target/portability/$name.log
  timeout 7200 "$@" -accel tcg,thread=multi -smp 2 -nographic -no-reboot -initrd "$dir/initramfs" \
    </dev/null 2>&1 | sed -u 's/\r//g' >"$log" || true
  rm -rf "$guest" "$dir/initramfs"
  if ! grep -aq '^GUEST: done, 0 failed' "$log"; then
    grep -aE '^(GUEST: .*(FAILED|done)|test .*FAILED|HANG|thread .* panicked)' -A 4 "$log" | head -n 80 >&2
    tail -n 15 "$log" >&2
    echo "$name: FAILED (${log#"$root/"})" >&2
    exit 1
  fi
  count "$name" "$log"
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
  rm -rf "$dir/root"
  mkdir -p "$dir/root/bin"
  cp target/no-std/static "$dir/root/bin/no-std"
  test_programs "$triple" >"$dir/root/programs"
  boot "linux$version" "$dir" "$triple" "$(command -v busybox)" musl-gcc strip qemu-system-x86_64 -m 5120 -kernel "$dir/vmlinuz" \
    -append "console=ttyS0 quiet panic=-1 mitigations=off"
}

# large_pages KIB SUITE PACKAGE PATTERN MACHINE TRIPLE GNU-PREFIX QEMU...: what maps files and shares memory, under the
# kernel that the PACKAGE of another machine depends on, whose pages have so many KiB.
large_pages() {
  local kib=$1 suite=$2 package=$3 pattern=$4 machine=$5 triple=$6 gnu=$7 dir=$tools/pages$1 upper
  shift 7
  need cpio "gcc-$gnu" "binutils-$gnu" "libc6-dev-$machine-cross"
  debian_rust
  mkdir -p "$dir" target/portability
  [ -e "$dir/kernel" ] || {
    debian_package "$suite" "$package" "$pattern" "$dir" "$machine"
    debian_package "$suite" busybox-static '' "$dir" "$machine"
    cp "$dir"/unpacked/boot/vmlinu?-* "$dir/kernel"
  }
  upper=$(tr 'a-z-' 'A-Z_' <<<"$triple")
  export "CARGO_TARGET_${upper}_LINKER=$gnu-gcc" "CARGO_TARGET_${upper}_RUSTFLAGS=-Ctarget-feature=+crt-static"
  rm -rf "$dir/root"
  mkdir -p "$dir/root"
  {
    test_programs "$triple" -p ossature-sys --test it
    test_programs "$triple" -p ossature --test mmap --test shared_memory --test shared_values --test shared_sync
  } >"$dir/root/programs"
  boot "pages$kib" "$dir" "$triple" "$(find "$dir/unpacked" -path '*/bin/busybox' -type f)" "$gnu-gcc" "$gnu-strip" "$@" -kernel "$dir/kernel"
  grep -aqx "GUEST: pages of $((kib * 1024)) bytes" "target/portability/pages$kib.log" ||
    { echo "pages$kib: the pages are not of $kib KiB" >&2; exit 1; }
}
