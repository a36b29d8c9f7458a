//! Memory that the system lends: files that are mapped, and what a load left over.

use std::fs::File;
use std::io;

use bytes::Bytes;
use memmap2::Mmap;

/// A file's bytes, read from the disk as they are looked at.
///
/// # Errors
/// The file can't be mapped.
pub(crate) fn map(file: &File) -> io::Result<Bytes> {
    // SAFETY: the map is read only. Who writes into a file while it is in use, instead of putting a new one in its
    // place, gets wrong answers, and who cuts it off ends the program: README says so.
    #[allow(unsafe_code)]
    let map = unsafe { Mmap::map(file)? };
    Ok(Bytes::from_owner(map))
}

/// Asks glibc for what it keeps of freed memory: of a model that is lowered from floats that is three times the int8
/// weights. Other C libraries keep little, and are not asked. Call it when something large was dropped.
pub(crate) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it asks for nothing of its caller, and other threads may allocate meanwhile.
    #[allow(unsafe_code)]
    unsafe {
        libc::malloc_trim(0);
    }
}
