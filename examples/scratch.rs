use minijinja::machinery::{parse_expr, ast::Expr};
fn main(){ for s in ["a.b.c | default('x')","a['b'].c is defined","f(x).y | default(1)","x == a.c.d | d(1)"] { let e=parse_expr(s).unwrap(); 
 fn w(e:&Expr,s:&str,d:usize){ let sp=e.span(); println!("{}{} {:?}", " ".repeat(d), e.description(), &s[sp.start_offset as usize..sp.end_offset as usize]); match e {Expr::Filter(f)=>w(f.expr.as_ref().unwrap(),s,d+1),Expr::Test(f)=>w(&f.expr,s,d+1),Expr::GetAttr(f)=>w(&f.expr,s,d+1),Expr::GetItem(f)=>{w(&f.expr,s,d+1);w(&f.subscript_expr,s,d+1)},Expr::Compare(c)=>{w(&c.ops[0].expr,s,d+1)},Expr::Call(c)=>w(&c.expr,s,d+1),_=>{}} }
 w(&e,s,0);} }
