package rego
import ("testing";"os";"time";"path/filepath"
"chaperone.dev/chaperone/internal/manifest"
"chaperone.dev/chaperone/internal/policy"
"chaperone.dev/chaperone/internal/promotion"
"sigs.k8s.io/kustomize/api/krusty"
"sigs.k8s.io/kustomize/kyaml/filesys"
)
func TestZZSample(t *testing.T){
 b, err := Load(t.Context(), os.DirFS(samplePolicies), DefaultLimits()); if err!=nil{t.Fatal(err)}
 set, err := promotion.Load(os.DirFS("../../..")); if err!=nil{t.Fatal(err)}
 { for _, env := range set.Environments {
  start := time.Now()
  rm, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), filepath.Join("../../..", env.Path))
  if err != nil { t.Error(env.ID, err); continue }
  y, err := rm.AsYaml(); if err!=nil{t.Error(env.ID,err); continue}
  o, err := manifest.Decode("r", y); if err!=nil{t.Error(env.ID,err); continue}
  s, err := manifest.NewSet(o); if err!=nil{t.Error(env.ID,err); continue}
  rt := time.Since(start); start = time.Now()
  in := policy.NewInput(env, s, policy.Release{}, nil, time.Now(), manifest.NewRedactor([]byte("0123456789abcdef")))
  r, _ := b.Evaluate(t.Context(), in)
  t.Log(env.ID, env.Data, s.Len(), "objects", rt, time.Since(start), r.Verdict, len(r.Findings), r.Errors)
  for _, f := range r.Findings { t.Errorf("%s %s %s %s %v %s %s", env.ID, f.Action, f.Severity, f.Rule, f.Object, f.Path, f.Message) }
 }}
}
