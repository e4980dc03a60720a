//! The parameters of a round.

use std::error::Error;
use std::net::{TcpListener, TcpStream};

use ossature::multiprocessing::connection::{Access, Connection, pipe, pipe_one_way};
use serde::{Deserialize, Serialize};

use crate::random::Random;

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The seed of its random numbers.
    pub seed: u64,
    pub role: Role,
    pub size: Size,
    pub carrier: StreamKind,
}

/// The role of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    Sends,
    /// Sends as well, but writes frame and length by hand, in pieces of any size.
    Drips,
    Receives,
    Echoes,
}

impl Role {
    pub fn sends(self) -> bool {
        self != Self::Receives
    }

    pub fn receives(self) -> bool {
        matches!(self, Self::Receives | Self::Echoes)
    }
}

/// The size of the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Size {
    /// Up to 600 bytes: the sizes that CPython sends as one piece, and a little more.
    Small,
    /// 16 to 80 KiB: the sizes that CPython sends as two pieces.
    Middle,
    /// 1 MiB: more than any socket accepts at once.
    Large,
    /// Values that contain open files.
    Files,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StreamKind {
    Socket,
    Pipe,
    Tcp,
}

impl Plan {
    pub fn any(random: &mut Random) -> Self {
        let role = [Role::Sends, Role::Sends, Role::Drips, Role::Receives, Role::Receives, Role::Echoes];
        let size = [Size::Small, Size::Middle, Size::Large, Size::Files];
        let carrier = [StreamKind::Socket, StreamKind::Socket, StreamKind::Socket, StreamKind::Pipe, StreamKind::Tcp];
        let mut plan = Self {
            seed: random.below(1 << 50),
            role: any(random, &role),
            size: any(random, &size),
            carrier: any(random, &carrier),
        };
        // Files ride on Unix sockets, and not on what is framed by hand; an echo takes both directions.
        if plan.size == Size::Files {
            plan.carrier = StreamKind::Socket;
            if plan.role == Role::Drips {
                plan.role = Role::Sends;
            }
        }
        if plan.role == Role::Echoes && plan.carrier == StreamKind::Pipe {
            plan.carrier = StreamKind::Socket;
        }
        plan
    }

    /// Creates the survivor's end and the peer's.
    pub fn ends(self) -> Result<(Connection, Connection), Box<dyn Error>> {
        Ok(match (self.carrier, self.role) {
            (StreamKind::Socket, _) => pipe()?,
            (StreamKind::Pipe, Role::Receives) => {
                let (reader, writer) = pipe_one_way()?;
                (writer, reader)
            }
            (StreamKind::Pipe, _) => pipe_one_way()?,
            (StreamKind::Tcp, _) => {
                let (one, other) = tcp_pair()?;
                let end = |stream: TcpStream| Connection::from_fd(stream.into(), Access::Both);
                (end(one)?, end(other)?)
            }
        })
    }
}

fn any<T: Copy>(random: &mut Random, choices: &[T]) -> T {
    choices[random.below(choices.len() as u64) as usize]
}

fn tcp_pair() -> std::io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let one = TcpStream::connect(listener.local_addr()?)?;
    Ok((one, listener.accept()?.0))
}
