//! The node's key in its data directory.

use std::fs;

use triskel::node::identity::{IdentityError, KEY_FILE, load_or_create};

#[test]
fn a_key_is_made_once_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let inner = directory.path().join("a/b");
    let made = load_or_create(&inner).unwrap();
    let loaded = load_or_create(&inner).unwrap();
    assert_eq!(made.secret(), loaded.secret());
    let text = fs::read_to_string(inner.join(KEY_FILE)).unwrap();
    assert_eq!((text.len(), text.ends_with('\n')), (65, true));
    let left_over = fs::read_dir(&inner).unwrap().count();
    assert_eq!(left_over, 1, "no temporary file stays");
}

#[test]
fn two_directories_have_two_keys() {
    let directory = tempfile::tempdir().unwrap();
    let one = load_or_create(&directory.path().join("1")).unwrap();
    let two = load_or_create(&directory.path().join("2")).unwrap();
    assert_ne!(one.public(), two.public());
}

#[test]
fn those_who_make_a_key_at_once_agree() {
    let directory = tempfile::tempdir().unwrap();
    let keys: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| load_or_create(directory.path()).unwrap().public()))
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(keys.iter().all(|key| *key == keys[0]));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_damaged_key_is_reported_and_left_alone() {
    let zero = "0".repeat(64);
    for content in ["", "12", &zero, "not a key\n"] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(KEY_FILE);
        fs::write(&path, content).unwrap();
        let error = load_or_create(directory.path()).unwrap_err();
        assert!(matches!(error, IdentityError::Damaged { .. }));
        assert!(
            error
                .to_string()
                .contains("is damaged: it must hold one secret key")
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), content);
    }
}

#[cfg(unix)]
#[test]
fn nobody_else_reads_the_key() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    load_or_create(directory.path()).unwrap();
    let metadata = fs::metadata(directory.path().join(KEY_FILE)).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
}
