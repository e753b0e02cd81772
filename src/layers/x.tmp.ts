import { Layers } from "./layers.ts";
const l=new Layers("/tmp/lx/store"); const t=performance.now(); let p=0;
const r=await l.apply({source:{path:process.argv[2]!},parents:[],onProgress:()=>p++}); console.log(r,p, performance.now()-t);
