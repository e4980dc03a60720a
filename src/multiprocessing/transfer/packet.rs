//! A value as one datagram with descriptors, for transports without a stream: queues, and the results of pools.
//!
//! | part | contents |
//! | --- | --- |
//! | [`HEADER`] bytes | the number of descriptors of each kind; whether the bytes of the value are in a memory file; their number |
//! | bytes | the bytes of the value, unless they are in a memory file |
//! | descriptors | the memory file with the bytes, if there is one; then the descriptors in the value |
//!
//! Only this library writes such datagrams, to sockets that only processes of the same program have. So the header
//! marks the descriptors of memory, as the header of a frame does on a connection within the same program. The memory
//! with the bytes is sealed: no process can change or shorten it while another process reads.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use ossature_sys::errno::Errno;
use ossature_sys::fd;
use ossature_sys::mmap::{Memfd, Region, Seals};
use ossature_sys::process::{Resource, rlimit};
use ossature_sys::socket::MOST_DESCRIPTORS;
use serde::de::DeserializeOwned;

use super::{Bounds, Descriptors, FdCounts, Packed, Trust, unpack_slice};
use crate::error::{Error, ErrorKind, Result};

/// The size of the header: three counts of descriptors, where the bytes are, and their length.
const HEADER: usize = 4 * size_of::<u32>() + size_of::<u64>();

/// A value that is ready to be sent.
#[derive(Debug)]
pub(crate) struct Packet {
    head: Vec<u8>,
    memory: Option<Memfd>,
    descriptors: Descriptors,
    length: usize,
}

impl Packet {
    /// Makes a packet of at most `longest` bytes. `what` names the carrier in errors.
    ///
    /// # Errors
    /// `InvalidInput` for more descriptors than a packet may have; `Os` with `ENOSPC`, `ENOMEM`, `EMFILE`, or `EFBIG`
    /// beyond `RLIMIT_FSIZE`, when there is no memory for the bytes.
    pub(crate) fn new(packed: Packed, longest: usize, what: &str) -> Result<Self> {
        let Packed { bytes, descriptors } = packed;
        let fd_counts = descriptors.fd_counts();
        let in_memory = bytes.len() > longest.saturating_sub(HEADER);
        let count = fd_counts.all + usize::from(in_memory);
        if count > MOST_DESCRIPTORS {
            let text = format!("{what} carries at most {MOST_DESCRIPTORS} descriptors, and this value needs {count}");
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
        let mut head = Vec::with_capacity(HEADER + if in_memory { 0 } else { bytes.len() });
        for number in [fd_counts.memory, fd_counts.ends, fd_counts.all, usize::from(in_memory)] {
            head.extend_from_slice(&(number as u32).to_le_bytes()); // at most `MOST_DESCRIPTORS`
        }
        head.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        let memory = if in_memory {
            let written = sealed(&bytes).map_err(|errno| {
                Error::os(errno, format!("no memory for a value of {} bytes to send through {what}", bytes.len()))
            })?;
            Some(written)
        } else {
            head.extend_from_slice(&bytes);
            None
        };
        Ok(Self { head, memory, descriptors, length: bytes.len() })
    }

    /// The bytes of the datagram.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.head
    }

    /// The descriptors of the datagram.
    pub(crate) fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.memory.iter().map(AsFd::as_fd).chain(self.descriptors.borrowed()).collect()
    }

    /// The number of bytes of the value.
    pub(crate) fn len(&self) -> usize {
        self.length
    }
}

/// A received packet.
#[derive(Debug)]
pub(crate) struct Came {
    bytes: Bytes,
    descriptors: Descriptors,
}

#[derive(Debug)]
enum Bytes {
    Here(Vec<u8>),
    Memory(Region),
}

impl Came {
    /// Opens a datagram that came with these descriptors, or without them because they were lost.
    ///
    /// # Errors
    /// `Decode` for bytes that no process of this program sends; `Os` with `EMFILE` for lost descriptors, and with
    /// `ENOMEM` when the memory cannot be mapped.
    pub(crate) fn open(datagram: &[u8], descriptors: impl IntoIterator<Item = OwnedFd>, lost: bool) -> Result<Self> {
        let mut list: Vec<OwnedFd> = descriptors.into_iter().collect();
        let (header, inline) = datagram.split_first_chunk::<HEADER>().ok_or_else(foreign)?;
        let number = |at: usize| {
            let bytes = header.get(at * 4..at * 4 + 4).and_then(|bytes| bytes.try_into().ok());
            bytes.map_or(0, u32::from_le_bytes) as usize
        };
        let fd_counts = FdCounts { memory: number(0), ends: number(1), all: number(2) };
        if lost {
            let text = format!(
                "a value was lost: it came with {} descriptors, and this process could not open all of them",
                fd_counts.all.max(1)
            );
            return Err(Error::os(Errno::MFILE, text));
        }
        let length = header.last_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let bytes = if number(3) == 0 {
            Bytes::Here(inline.to_vec())
        } else if list.is_empty() {
            return Err(foreign());
        } else {
            let memory = list.remove(0);
            let length = usize::try_from(length).map_err(|_| foreign())?;
            // Seals and length are looked at by the mapping.
            let mapped = Region::sealed(&memory, length);
            Bytes::Memory(mapped.map_err(|errno| Error::os(errno, "cannot map a value that came as memory"))?)
        };
        let descriptors = Descriptors::arrived(list, fd_counts).ok_or_else(foreign)?;
        Ok(Self { bytes, descriptors })
    }

    /// Decodes the value.
    ///
    /// # Errors
    /// The errors of [`unpack`](super::unpack).
    pub(crate) fn unpack<T: DeserializeOwned>(self, bounds: Bounds) -> Result<T> {
        let bytes = match &self.bytes {
            Bytes::Here(bytes) => bytes.as_slice(),
            Bytes::Memory(region) => region.as_slice().unwrap_or_default(),
        };
        unpack_slice(bytes, self.descriptors, Trust::SameProgram, bounds)
    }
}

#[cold]
fn foreign() -> Error {
    Error::new(ErrorKind::Decode, "a packet with descriptors is not one of this program")
}

/// Makes a memory file with these bytes, which no process can change any more.
fn sealed(bytes: &[u8]) -> std::result::Result<Memfd, Errno> {
    let memory = Memfd::new(c"ossature-value")?;
    // Beyond this limit the kernel sends SIGXFSZ, which by default ends the program.
    if rlimit(Resource::Fsize)?.current.is_some_and(|most| bytes.len() as u64 > most) {
        return Err(Errno::FBIG);
    }
    memory.reserve(bytes.len() as u64)?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = fd::write(&memory, rest)?;
        rest = rest.get(written.max(1)..).unwrap_or_default();
    }
    memory.add_seals(Seals::SHRINK | Seals::GROW | Seals::WRITE | Seals::SEAL)?;
    Ok(memory)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    use super::super::{Handle, pack};
    use super::*;

    fn there<T: DeserializeOwned>(packet: &Packet) -> Result<T> {
        let descriptors = packet.descriptors().into_iter().map(|fd| fd.try_clone_to_owned().unwrap());
        Came::open(packet.bytes(), descriptors.collect::<Vec<_>>(), false)?.unpack(Bounds::SAME_PROGRAM)
    }

    #[test]
    fn short_and_long_values_arrive_with_their_descriptors() {
        for text in ["short".to_owned(), "long ".repeat(100)] {
            let file = File::open("/proc/self/exe").unwrap();
            let packet = Packet::new(pack(&(&text, Handle(file))).unwrap(), 200, "a test").unwrap();
            assert!(packet.bytes().len() <= 200);
            assert_eq!(packet.descriptors().len(), 1 + usize::from(text.len() > 200));
            let (came, Handle(file)): (String, Handle<File>) = there(&packet).unwrap();
            let mut magic = [0; 4];
            file.read_exact_at(&mut magic, 0).unwrap();
            assert_eq!((came, &magic), (text, b"\x7fELF"));
        }
    }

    #[test]
    fn what_nobody_sends_is_an_error() {
        let packet = Packet::new(pack(&"long ".repeat(100)).unwrap(), 200, "a test").unwrap();
        let open = |bytes: &[u8], list: Vec<OwnedFd>| Came::open(bytes, list, false).map(drop).unwrap_err().kind();
        assert_eq!(open(&packet.bytes()[..HEADER - 1], Vec::new()), ErrorKind::Decode);
        assert_eq!(open(packet.bytes(), Vec::new()), ErrorKind::Decode, "the memory did not arrive");
        let file = || OwnedFd::from(File::open("/dev/null").unwrap());
        assert_eq!(open(packet.bytes(), vec![file()]), ErrorKind::Os, "the memory is not sealed");
        let mut more = packet.bytes().to_vec();
        more[8] = 1;
        let memory = packet.descriptors()[0].try_clone_to_owned().unwrap();
        assert_eq!(open(&more, vec![memory]), ErrorKind::Decode, "a descriptor is missing");
        let lost = Came::open(packet.bytes(), [], true).map(drop).unwrap_err();
        assert_eq!(lost.errno(), Some(Errno::MFILE));
        let unsealed = Memfd::new(c"unsealed").unwrap();
        unsealed.set_len(packet.len() as u64).unwrap();
        assert_eq!(open(packet.bytes(), vec![unsealed.into()]), ErrorKind::Os, "it could change under the reader");
    }

    #[test]
    fn a_packet_carries_only_so_many_descriptors() {
        let files = |count| (0..count).map(|_| Handle(File::open("/dev/null").unwrap())).collect::<Vec<_>>();
        Packet::new(pack(&files(253)).unwrap(), 4096, "a test").unwrap();
        let error = Packet::new(pack(&files(254)).unwrap(), 4096, "a test").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("at most 253"), "{error}");
    }
}
