//! A Mandelbrot picture, computed by a pool into a shared array, and written as a PNG file.
//!
//! `cargo run --release --example mandelbrot -- --out picture.png`. The rows do not travel: each worker writes its own
//! into memory that all have.

#[path = "family/front.rs"]
mod front;
#[path = "family/own.rs"]
mod own;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::process::ExitCode;
use std::sync::OnceLock;

use ossature::multiprocessing::{Pool, RawArray, Tasks, freeze_support, tasks, usable_cpus};
use own::{Outcome, option};
use serde::{Deserialize, Serialize};

const USAGE: &str = "\
usage: mandelbrot [--workers N] [--width N] [--out FILE] [--self-test]
Computes a picture of the Mandelbrot set by a pool of processes.
  --workers N  how many processes (default: one for each processor)
  --width N    how many pixels it is wide, 2 to 16384 (default: 900); it is two thirds as high
  --out FILE   where the PNG is written (default: mandelbrot.png)
  --self-test  reads a small picture back, and compares it with one that one process computed";

static TASKS: Tasks = tasks![share, draw];

/// The number of steps within which a point must escape.
const STEPS: u32 = 200;

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Size {
    width: usize,
    height: usize,
}

/// The picture, in a worker: three bytes for each pixel.
static PICTURE: OnceLock<(RawArray<u8>, Size)> = OnceLock::new();

/// Runs first in each worker. All processes of the pool share the array's memory.
fn share(picture: RawArray<u8>, size: Size) {
    let _ = PICTURE.set((picture, size)); // it is set once in a process
}

/// Draws one row. No other call has this row, so no lock is needed.
fn draw(row: usize) -> Result<(), String> {
    let (picture, size) = PICTURE.get().ok_or("cannot draw: the worker has no picture")?;
    let start = row * size.width * 3;
    picture.set_slice(start..start + size.width * 3, &colours(row, *size)).map_err(|error| error.to_string())
}

/// The colours of one row, as red, green and blue.
fn colours(row: usize, size: Size) -> Vec<u8> {
    let scale = 3.0 / size.width as f64;
    let imaginary = (row as f64 - (size.height - 1) as f64 / 2.0) * scale;
    let colour = |column: usize| match escape(-2.2 + column as f64 * scale, imaginary) {
        Some(step) => [step.wrapping_mul(7) as u8, step.wrapping_mul(5) as u8, 64 + step.wrapping_mul(3) as u8 / 2],
        None => [0, 0, 0],
    };
    (0..size.width).flat_map(colour).collect()
}

/// The number of steps until a point escapes; `None` for a point of the set, as far as the steps can show.
fn escape(re: f64, im: f64) -> Option<u32> {
    let (mut x, mut y) = (0.0, 0.0);
    for step in 0..STEPS {
        if x * x + y * y > 4.0 {
            return Some(step);
        }
        (x, y) = (x * x - y * y + re, 2.0 * x * y + im);
    }
    None
}

/// The bytes of the picture, drawn by `workers` workers.
fn picture(workers: usize, size: Size) -> Outcome<Vec<u8>> {
    let picture = RawArray::<u8>::new(size.width * size.height * 3)?;
    let pool = Pool::builder().workers(workers).initializer(share, (picture.try_clone()?, size))?.build()?;
    for drawn in pool.map(draw, 0..size.height)? {
        drawn?;
    }
    Ok(picture.slice(..))
}

fn write_png(to: impl Write, size: Size, bytes: &[u8]) -> Outcome {
    let mut encoder = png::Encoder::new(to, size.width.try_into()?, size.height.try_into()?);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(bytes)?;
    Ok(writer.finish()?)
}

fn program() -> Outcome {
    let number = |name: &str, default: usize| option(name).map_or(Ok(default), |number| number.parse());
    let (workers, width) = (number("workers", usable_cpus()?)?, number("width", 900)?);
    if !(2..=16384).contains(&width) {
        return Err("--width needs a number from 2 to 16384".into());
    }
    let size = Size { width, height: width * 2 / 3 };
    if std::env::args().any(|argument| argument == "--self-test") {
        return self_test();
    }
    let path = option("out").unwrap_or_else(|| "mandelbrot.png".to_owned());
    let bytes = picture(workers, size)?;
    let mut file = BufWriter::new(File::create(&path).map_err(|error| format!("{path}: {error}"))?);
    write_png(&mut file, size, &bytes)?;
    file.flush().map_err(|error| format!("{path}: {error}"))?;
    println!("{path}: {} x {} pixels by {workers} processes", size.width, size.height);
    Ok(())
}

fn self_test() -> Outcome {
    let size = Size { width: 120, height: 80 };
    let mut file = Vec::new();
    write_png(&mut file, size, &picture(3, size)?)?;

    let mut reader = png::Decoder::new(std::io::Cursor::new(&file)).read_info()?;
    let mut bytes = vec![0; reader.output_buffer_size().ok_or("too large a picture")?];
    let frame = reader.next_frame(&mut bytes)?;
    assert_eq!((frame.width, frame.height, frame.color_type), (120, 80, png::ColorType::Rgb));
    let alone: Vec<u8> = (0..size.height).flat_map(|row| colours(row, size)).collect();
    assert!(bytes == alone, "the pool drew a different picture than one process");
    let rows: Vec<&[u8]> = bytes.chunks(size.width * 3).collect();
    assert!(rows.iter().eq(rows.iter().rev()), "the set is the same above and below its axis");
    let inside = bytes.chunks(3).filter(|pixel| *pixel == [0, 0, 0]).count();
    assert!((1000..4000).contains(&inside), "{inside} pixels belong to the set");
    println!("ok: {} bytes of PNG, {inside} pixels of the set", file.len());
    Ok(())
}

fn main() -> ExitCode {
    freeze_support(TASKS); // first in main
    front::run(USAGE, program)
}
