//! A tour of the library: labels that are words, pictures from a folder, and a relabelling on the
//! way. Run with `cargo run --release --example tour`.

use std::error::Error;
use std::path::Path;

use edgeclip::capture;
use edgeclip::pipeline::Model;
use edgeclip::prompts::LabelSet;

fn main() -> Result<(), Box<dyn Error>> {
    // The built-in model; Model::open(Some(folder)) opens another bundle.
    let model = Model::open(None)?;

    // Words become directions. The text side is only needed while labels change.
    let text_side = model.text_side()?;
    let kinds = text_side.head(&LabelSet::from_names(["an animal", "a drink", "a vehicle"])?)?;

    // What the picture is compared with can be as fine as the words are.
    let finer = "
        background = ['nothing']
        [[label]]
        name = 'cat'
        prompts = ['tabby cat', 'Persian cat', 'kitten']
        [[label]]
        name = 'coffee'
        prompts = ['espresso', 'cup of coffee']
    ";
    let finer = text_side.head(&LabelSet::from_toml(finer)?)?;

    // A picture becomes a direction once, whatever it is compared with.
    let mut image_side = model.image_side()?;
    for name in ["cat.jpg", "coffee.jpg"] {
        let frame = capture::read(&Path::new("examples/images").join(name))?;
        let embedding = image_side.encode_image(&frame)?;
        for head in [&kinds, &finer] {
            let best = &head.ranked(&embedding)[0];
            println!("{name}: {} ({:.0} %)", best.label, best.score * 100.0);
        }
    }
    Ok(())
}
