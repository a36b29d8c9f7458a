//! rten in a process of its own, which `run.py` talks to: it loads a model once, then answers each
//! line of standard input, as `worker.py` tells.
//!
//!     rten-worker MODEL.onnx PIXELS THREADS

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;
use std::{env, fs, io};

use rten::{ModelOptions, RunOptions, ThreadPool};
use rten_tensor::NdTensor;
use rten_tensor::prelude::*;

const SHAPE: [usize; 4] = [1, 3, 224, 224];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [model, pixels, threads] = &arguments[..] else {
        return Err("usage: rten-worker MODEL.onnx PIXELS THREADS".into());
    };
    let model = ModelOptions::with_all_ops().prepack_weights(true).load_file(model)?;
    let bytes = fs::read(pixels)?;
    let values = bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    let pixels = NdTensor::from_data(SHAPE, values.collect::<Vec<f32>>());
    let pool = Arc::new(ThreadPool::with_num_threads(threads.parse()?));
    let options = RunOptions::default().with_thread_pool(Some(pool));
    let encode = || -> Result<NdTensor<f32, 2>, Box<dyn Error>> {
        Ok(model.run_one(pixels.view().into(), Some(options.clone()))?.try_into()?)
    };
    for line in io::stdin().lines() {
        let line = line?;
        let answer = match line.split_once(' ') {
            Some(("run", frames)) => {
                let mut times = Vec::new();
                for _ in 0..frames.parse()? {
                    let begun = Instant::now();
                    encode()?;
                    times.push(begun.elapsed().as_secs_f32() * 1000.0);
                }
                times
            }
            None if line == "embed" => encode()?.to_vec(),
            _ => return Err(format!("no command: {line}").into()),
        };
        println!("{}", serde_json::to_string(&answer)?);
    }
    Ok(())
}
