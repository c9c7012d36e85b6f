fn main(){ let p=std::env::args().nth(1).unwrap(); let mut o=infra::config::LoadOptions::default(); if let Some(r)=std::env::args().nth(2){o.files_root=Some(r.into());}
 if p=="schema" {println!("{:#}",infra::config::schema());return;}
 match infra::config::load(std::path::Path::new(&p),&o){Ok(e)=>{for w in &e.warnings{println!("{w}");} for r in e.resources{println!("{} {}",r.address,serde_json::to_string(&r.spec).unwrap());}},Err(e)=>println!("{e}")} }
