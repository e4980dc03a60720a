//! File locks.

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;

use ossature_sys::errno::Errno;
use ossature_sys::flock::FileLock;

#[test]
fn a_file_that_is_made_to_be_locked_is_locked_once_until_it_is_released() {
    let path = std::env::temp_dir().join(format!("ossature-flock-{}", std::process::id()));
    let name = CString::new(path.as_os_str().as_bytes()).unwrap();
    let held = FileLock::try_create(&name).unwrap().unwrap();
    assert!(FileLock::try_create(&name).unwrap().is_none(), "another description of the same file");
    drop(held);
    assert!(FileLock::try_create(&name).unwrap().is_some());
    std::fs::remove_file(&path).unwrap();
    std::os::unix::fs::symlink("/dev/null", &path).unwrap();
    assert_eq!(FileLock::try_create(&name).err(), Some(Errno::LOOP), "never through a link");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn a_shared_lock_keeps_an_exclusive_one_out() {
    let path = std::env::temp_dir().join(format!("ossature-flock-file-{}", std::process::id()));
    std::fs::write(&path, "").unwrap();
    let name = CString::new(path.as_os_str().as_bytes()).unwrap();
    let one = FileLock::try_shared(&name).unwrap().unwrap();
    let two = FileLock::try_shared(&name).unwrap().unwrap();
    assert!(FileLock::try_exclusive(&name).unwrap().is_none());
    drop(one);
    assert!(FileLock::try_exclusive(&name).unwrap().is_none());
    drop(two);
    let held = FileLock::try_exclusive(&name).unwrap().unwrap();
    assert!(FileLock::try_shared(&name).unwrap().is_none());
    drop(held);
    let link = path.with_extension("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let link_name = CString::new(link.as_os_str().as_bytes()).unwrap();
    assert_eq!(FileLock::try_shared(&link_name).err(), Some(Errno::LOOP));
    std::fs::remove_file(&link).unwrap();
    std::fs::remove_file(&path).unwrap();
}
